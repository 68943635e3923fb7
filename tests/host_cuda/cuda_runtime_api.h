#pragma once
#include "tests/host_cuda/cuda_runtime.h"
