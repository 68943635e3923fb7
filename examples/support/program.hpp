#pragma once
// What all programs do the same way: options, errors, exit codes, progress.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "clip/core/device.hpp"
#include "clip/core/dtype.hpp"
#include "clip/core/error.hpp"

namespace clip {

/// Options that do not go together.
class WrongUsage : public Error {
 public:
  using Error::Error;
};

/// A program and its command line. Exit codes: 0 success, 1 failure, 2 wrong usage.
class Program {
 public:
  /// `example` is a command that works, shown by --help.
  Program(const std::string& name, const std::string& description, const std::string& example);

  CLI::App app;
  bool quiet = false;

  /// Adds --device, --dtype, --threads, --seed and --quiet.
  void add_compute_options();
  Device device() const;
  dtype type() const;
  std::uint64_t seed() const { return seed_; }
  /// What it runs on, the first line on stderr: device, precision, threads, then `rest`. Nothing with --quiet.
  void announce(const std::string& rest) const;

  /// Reports something left out, such as a picture that cannot be read; also with --quiet.
  void warn(const std::string& what) const;

  /// Parses the command line, then calls `work`. An exception becomes the line `error: …` on stderr.
  int run(int argc, char** argv, const std::function<void()>& work);

 private:
  std::string device_ = "auto", dtype_ = "f32";
  int threads_ = 0;
  std::uint64_t seed_ = 0;
};

/// A check of options without a sign, for which CLI11 takes -1 to mean the largest number.
std::string not_negative(const std::string& text);

/// From now on SIGINT and SIGTERM do not end the program, but `interrupted` tells of them; a second one ends it.
void catch_interrupts();
bool interrupted();
/// Throws when interrupted: what was begun cleans up after itself.
void stop_if_interrupted();

/// How far a long job is, on stderr: a bar with rate and time left on a terminal, else a line every few seconds.
class Progress {
 public:
  Progress(std::string what, std::int64_t total, bool quiet);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  void advance(std::int64_t count);

 private:
  void show();

  using Clock = std::chrono::steady_clock;
  std::string what_;
  std::int64_t total_, done_ = 0;
  bool quiet_, terminal_, shown_ = false;
  Clock::time_point start_ = Clock::now(), last_ = start_;
};

}  // namespace clip
