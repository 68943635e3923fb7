#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "clip/core/error.hpp"

namespace clip {

/// A folder beside an output folder in which its files are made. It goes with all it holds, and with the folders made
/// on the way to it, unless it was put in place. One that a killed run left is taken over.
class WorkFolder {
 public:
  /// Throws when another run is writing the same output.
  explicit WorkFolder(const std::filesystem::path& output);
  ~WorkFolder();
  WorkFolder(const WorkFolder&) = delete;
  WorkFolder& operator=(const WorkFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

  /// Throws when one of the files, given by their paths inside it, cannot take its place in an output that is there:
  /// before any of them does.
  static void check_places(const std::filesystem::path& output, const std::vector<std::string>& files);
  /// Becomes the output, or moves the files one by one into one that is there.
  void put_in_place(const std::vector<std::string>& files);
  /// An error about a file in this folder, as one about the same file of the output.
  Error about_output(const Error& error) const;

 private:
  struct Made {
    std::vector<std::filesystem::path> paths;  // the innermost first
    ~Made();
  };
  Made made_;
  std::filesystem::path output_, path_;
  std::shared_ptr<void> lock_;
};

}  // namespace clip
