#pragma once
#include <filesystem>
#include <optional>
#include <ostream>
#include <vector>

#include "clip/core/dtype.hpp"
#include "clip/io/weight_names.hpp"
#include "tools/weights_convert/config.hpp"

namespace clip {

struct ConvertOptions {
  std::optional<Architecture> architecture = {};  ///< recognised where none is given
  std::optional<dtype> type = {};                 ///< of floating tensors; as in the input where none is given
  std::optional<Preprocess> preprocess = {};      ///< of a ResNet; from what lies beside the input where none is given
  std::vector<std::filesystem::path> vocabulary = {};
};

/// Writes a model folder of the weights in `input`, and tells `report` what became of each tensor. What fails leaves
/// `output` as it was; files of an `output` that exists are replaced one by one, the weights last.
void convert(const std::filesystem::path& input, const std::filesystem::path& output, const ConvertOptions& options,
             std::ostream& report);

/// Prints name, type, shape and bytes of every tensor.
void list(const std::filesystem::path& input, std::ostream& out);

}  // namespace clip
