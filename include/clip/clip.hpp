#pragma once
// Everything a user of the library needs. Not included inside the repository, but for the tests of what users write.
// Written by scripts/umbrella.sh.
#include "clip/autograd.hpp"
#include "clip/core/activation.hpp"
#include "clip/core/device.hpp"
#include "clip/core/dtype.hpp"
#include "clip/core/error.hpp"
#include "clip/core/random.hpp"
#include "clip/core/shape.hpp"
#include "clip/core/tensor.hpp"
#include "clip/ops/activation.hpp"
#include "clip/ops/arithmetic.hpp"
#include "clip/ops/cast.hpp"
#include "clip/ops/concat.hpp"
#include "clip/ops/permute.hpp"
#include "clip/ops/reduce.hpp"
#include "clip/ops/softmax.hpp"
#include "clip/ops/view.hpp"
