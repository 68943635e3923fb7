#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // a false alarm of GCC's, in std::regex with sanitizers
#endif
#define CATCH_CONFIG_MAIN
#include "tests/support/catch.hpp"
