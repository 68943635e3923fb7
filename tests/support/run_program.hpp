#pragma once
// Runs the programs, as a user would.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
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

/// Starts the program, quietly, and sends it `signal` after some time, unless it ends before. Its exit code, or -1 when
/// a signal ended it.
inline int run_and_signal(const std::string& name, const std::vector<std::string>& arguments, int signal,
                          std::chrono::milliseconds after) {
  const std::string program = CLIP_BIN "/" + name;
  std::vector<char*> argv = {const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    const int nowhere = open("/dev/null", O_WRONLY);
    dup2(nowhere, STDOUT_FILENO);
    dup2(nowhere, STDERR_FILENO);
    execv(program.c_str(), argv.data());
    _exit(4);
  }
  int status = 0;
  const auto end = std::chrono::steady_clock::now() + after;
  while (waitpid(child, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() >= end) {
      kill(child, signal);
      waitpid(child, &status, 0);
      break;
    }
    usleep(1000);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace clip::test
