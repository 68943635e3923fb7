#pragma once
// Writing the folder of a model that came from another.
#include <filesystem>
#include <vector>

#include "clip/nn/module.hpp"

namespace clip {

/// Makes `to` a folder with the files of the model folder `from`, linked where the file system can, else copied. `to`
/// is replaced at once, by all of them. Links in `from` to folders of models become folders. Throws when `from` is no
/// folder.
void link_folder(const std::filesystem::path& from, const std::filesystem::path& to);

/// Writes these weights into a model folder, in place of those that are there.
void replace_weights(const std::vector<Member>& weights, const std::filesystem::path& folder);

}  // namespace clip
