#pragma once
// What all programs do the same way: options, errors, exit codes, progress.
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "clip/core/device.hpp"
#include "clip/core/dtype.hpp"
#include "clip/core/error.hpp"

namespace CLI {  // CLI11, which takes seconds to compile: program.cpp alone includes it
class App;
class Option;
}  // namespace CLI

namespace clip {

/// Options that do not go together.
class WrongUsage : public Error {
 public:
  using Error::Error;
};

/// What may be asked of an option's value.
class Option {
 public:
  explicit Option(CLI::Option* option) : option_(option) {}
  Option& required();
  Option& one_of(std::initializer_list<std::string> words);
  Option& between(std::int64_t least, std::int64_t most);
  Option& fraction();  ///< from 0 to 1
  Option& positive();
  Option& not_empty();
  Option& not_negative();
  /// May stand without a value, and then means this one.
  Option& alone_means(const std::string& word);
  Option& excludes(const Option& other);

 private:
  CLI::Option* option_;
};

/// Where an option's value goes; its type says what is accepted. A bool is a flag, a vector takes several values, and
/// what has no sign refuses one.
using OptionValue =
    std::variant<bool*, int*, std::int64_t*, std::uint64_t*, float*, double*, std::string*, std::filesystem::path*,
                 std::vector<std::string>*, std::vector<std::filesystem::path>*>;

/// A program and its command line. Exit codes: 0 success, 1 failure, 2 wrong usage.
class Program {
 public:
  /// `example` is a command that works, shown by --help.
  Program(const std::string& name, const std::string& description, const std::string& example);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  bool quiet = false;

  /// Adds an option: "--name", or "name" for one told by its place.
  Option option(const std::string& name, OptionValue value, const std::string& help);

  /// Adds --device, --dtype, --threads, --seed and --quiet.
  void add_compute_options();
  const Device& device() const;  ///< the same at every call: tensors on two handles of one GPU do not go together
  dtype type() const;
  std::uint64_t seed() const { return seed_; }
  /// What it runs on, the first line on stderr: device, precision, threads, then `rest`. Nothing with --quiet.
  void announce(const std::string& rest) const;

  /// Reports something left out, such as a picture that cannot be read; also with --quiet.
  void warn(const std::string& what) const;

  /// Parses the command line, then calls `work`. An exception becomes the line `error: …` on stderr.
  int run(int argc, char** argv, const std::function<void()>& work);

 private:
  std::unique_ptr<CLI::App> app_;
  std::string device_name_ = "cpu", dtype_ = "f32";
  mutable std::optional<Device> device_;
  int threads_ = 0;
  std::uint64_t seed_ = 0;
};

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
