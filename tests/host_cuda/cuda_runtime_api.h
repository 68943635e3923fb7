#pragma once
#include "tests/host_cuda/cuda_runtime.h"
#include "tests/host_cuda/measure.hpp"
