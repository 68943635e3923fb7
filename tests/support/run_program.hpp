#pragma once
// Runs the programs, as a user would.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "clip/io/file.hpp"
#include "tests/support/temporary.hpp"

namespace clip::test {

struct Outcome {
  int status;  ///< exit code; -1 when a signal ended it
  std::string out, error;
};

inline std::string command_line(const std::string& name, const std::vector<std::string>& arguments) {
  std::string command = "'" CLIP_BIN "/" + name + "'";
  for (const std::string& argument : arguments) command.append(" '").append(argument).append("'");
  return command;
}

/// Runs the program `name` of this build.
inline Outcome run_program(const std::string& name, const std::vector<std::string>& arguments) {
  const TemporaryFolder folder;
  std::string command = command_line(name, arguments);
  command.append(" >'").append(folder / "out").append("' 2>'").append(folder / "error").append("'");
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read_file(folder / "out"), read_file(folder / "error")};
}

/// Its error when nothing can be written to its standard output; empty unless its exit code is 1.
inline std::string run_on_full_disk(const std::string& name, const std::vector<std::string>& arguments) {
  const TemporaryFolder folder;
  const std::string command = command_line(name, arguments) + " >/dev/full 2>'" + (folder / "error").string() + "'";
  const int status = std::system(command.c_str());
  return WIFEXITED(status) && WEXITSTATUS(status) == 1 ? read_file(folder / "error") : "";
}

/// Starts the program and sends it a signal as soon as `begun()`. Its exit code; -1 when a signal ended it.
template <class Begun>
int interrupt_program(const std::string& name, const std::vector<std::string>& arguments, const Begun& begun,
                      int signal = SIGINT) {
  const std::string command = "exec " + command_line(name, arguments) + " >/dev/null 2>&1";
  const pid_t child = ::fork();
  if (child == 0) {
    ::execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
    ::_exit(127);
  }
  int status = 0;
  bool ended = false;
  while (!begun() && !ended) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    ended = ::waitpid(child, &status, WNOHANG) == child;
  }
  if (!ended) {
    ::kill(child, signal);
    ::waitpid(child, &status, 0);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace clip::test
