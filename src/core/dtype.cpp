#include "clip/core/dtype.hpp"

#include <ostream>

namespace clip {

std::ostream& operator<<(std::ostream& out, dtype type) { return out << name_of(type); }

}  // namespace clip
