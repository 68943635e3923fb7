#pragma once
// Runs the programs, as a user would.
#include <sys/wait.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "clip/io/file.hpp"
#include "tests/support/temporary.hpp"

namespace clip::test {

struct Outcome {
  int status;  ///< exit code; -1 when a signal ended it
  std::string out, error;
};

/// Runs the program `name` of this build.
inline Outcome run_program(const std::string& name, const std::vector<std::string>& arguments) {
  const TemporaryFolder folder;
  std::string command = "'" CLIP_BIN "/" + name + "'";
  for (const std::string& argument : arguments) command.append(" '").append(argument).append("'");
  command.append(" >'").append(folder / "out").append("' 2>'").append(folder / "error").append("'");
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read_file(folder / "out"), read_file(folder / "error")};
}

}  // namespace clip::test
