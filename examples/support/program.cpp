#include "examples/support/program.hpp"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <new>
#include <sstream>
#include <string_view>
#include <thread>

#include "clip/io/file.hpp"

namespace clip {
namespace {

/// More wait for each other longer than they compute.
int most_threads() { return std::max(64, 2 * static_cast<int>(std::thread::hardware_concurrency())); }

volatile std::sig_atomic_t was_interrupted = 0;
extern "C" void note_interrupt(int) { was_interrupted = 1; }

/// For values without a sign, for which CLI11 takes -1 to mean the largest number.
std::string unsigned_text(const std::string& text) {
  return text.starts_with('-') ? "expected no negative number, got " + text : "";
}

}  // namespace

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = note_interrupt;
  action.sa_flags = static_cast<int>(SA_RESETHAND) | SA_RESTART;
  for (const int signal : {SIGINT, SIGTERM}) ::sigaction(signal, &action, nullptr);
}
bool interrupted() { return was_interrupted != 0; }
void stop_if_interrupted() {
  if (interrupted()) throw Error("interrupted; what a cache or a checkpoint holds is not made again");
}

Option& Option::required() {
  option_->required();
  return *this;
}
Option& Option::one_of(std::initializer_list<std::string> words) {
  option_->check(CLI::IsMember(std::vector<std::string>(words)));
  return *this;
}
Option& Option::between(std::int64_t least, std::int64_t most) {
  option_->check(CLI::Range(least, most));
  return *this;
}
Option& Option::fraction() {
  option_->check(CLI::Range(0.0, 1.0));
  return *this;
}
Option& Option::positive() {
  option_->check(CLI::PositiveNumber);
  return *this;
}
Option& Option::not_empty() {
  option_->check([](const std::string& text) { return text.empty() ? "expected some text, got none" : std::string(); });
  return *this;
}
Option& Option::not_negative() {
  option_->check(CLI::NonNegativeNumber);
  return *this;
}
Option& Option::alone_means(const std::string& word) {
  option_->expected(0, 1)->default_str(word);
  return *this;
}
Option& Option::excludes(const Option& other) {
  option_->excludes(other.option_);
  return *this;
}

Program::Program(const std::string& name, const std::string& description, const std::string& example)
    : app_(std::make_unique<CLI::App>(description, name)) {
  app_->set_version_flag("--version", name + " (clipcore " CLIP_VERSION ")");
  app_->footer("Example:\n  " + example);
  app_->get_formatter()->column_width(36);
}
Program::~Program() = default;

Option Program::option(const std::string& name, OptionValue value, const std::string& help) {
  const auto add = [&](auto* to) {
    using T = std::remove_pointer_t<decltype(to)>;
    if constexpr (std::is_same_v<T, bool>) {
      return app_->add_flag(name, *to, help);
    } else {
      CLI::Option* option = app_->add_option(name, *to, help);
      if constexpr (std::is_same_v<T, std::uint64_t>) option->check(unsigned_text);
      return option;
    }
  };
  return Option(std::visit(add, value));
}

void Program::add_compute_options() {
  option("--device", &device_name_, "cpu, cuda or cuda:N (default: the CPU)");
  option("--dtype", &dtype_, "f32 (default), bf16, or auto for the fastest that the hardware runs well")
      .one_of({"f32", "bf16", "auto"});
  option("--threads", &threads_, "threads on the CPU (default: one for each core)").between(1, most_threads());
  option("--seed", &seed_, "of all random numbers (default 0)");
  option("--quiet", &quiet, "no progress on stderr");
}

const Device& Program::device() const {
  if (device_) return *device_;
  if (device_name_ == "cpu") return device_.emplace();
  const std::string_view name = device_name_ == "cuda" ? "cuda:0" : device_name_.c_str(), prefix = "cuda:";
  const std::string_view number = name.substr(std::min(name.size(), prefix.size()));
  std::uint16_t index = 0;  // a type without a sign: none is read
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), index);
  check(name.starts_with(prefix) && error == std::errc() && end == number.data() + number.size(), "--device",
        "expected cpu, cuda or cuda:N, got '", printable(device_name_), "'");
  return device_.emplace(Device::cuda(index));
}

dtype Program::type() const {
  if (dtype_ == "auto") return has_fast_bf16(device()) ? dtype::bf16 : dtype::f32;
  return dtype_ == "bf16" ? dtype::bf16 : dtype::f32;
}

void Program::announce(const std::string& rest) const {
  if (quiet) return;
  std::ostringstream line;
  line << app_->get_name() << ": " << device() << ", " << type() << ", " << num_threads()
       << (num_threads() == 1 ? " thread" : " threads") << ", " << rest << '\n';
  std::cerr << line.str();
}

void Program::warn(const std::string& what) const { std::cerr << app_->get_name() + ": " + what + '\n'; }

int Program::run(int argc, char** argv, const std::function<void()>& work) {
  const auto wrong_usage = [&](const std::string& what) {
    std::cerr << "error: " + what + " (" + app_->get_name() + " --help shows usage)\n";
    return 2;
  };
  try {
    try {
      app_->parse(argc, argv);
      if (threads_ > 0) set_num_threads(threads_);
      work();
    } catch (const CLI::ParseError& e) {
      if (e.get_exit_code() != 0) return wrong_usage(printable(e.what()));
      app_->exit(e);  // --help, --version
    }
    std::cout.flush();
    check(!std::cout.fail(), "output", "cannot write to stdout");
    return 0;
  } catch (const WrongUsage& e) {
    return wrong_usage(e.what());
  } catch (const std::filesystem::filesystem_error& e) {
    std::cerr << "error: " + quoted(e.path1()) + ": " + e.code().message() + '\n';
  } catch (const std::bad_alloc&) {
    std::cerr << "error: out of memory\n";
  } catch (const std::exception& e) {
    std::string message = e.what();
    std::replace(message.begin(), message.end(), '\n', ' ');  // an error about many tensors has a line for each kind
    std::cerr << "error: " + message + '\n';
  }
  return 1;
}

Progress::Progress(std::string what, std::int64_t total, bool quiet)
    : what_(std::move(what)), total_(total), quiet_(quiet), terminal_(::isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
  if (shown_ && terminal_) std::fputc('\n', stderr);
}

void Progress::advance(std::int64_t count) {
  done_ += count;
  if (quiet_) return;
  const auto now = Clock::now();
  if (now - last_ < (terminal_ ? std::chrono::milliseconds(100) : std::chrono::seconds(5)) &&
      !(terminal_ && done_ == total_))
    return;
  last_ = now;
  show();
}

void Progress::show() {
  const double seconds = std::chrono::duration<double>(last_ - start_).count();
  const double rate = seconds > 0 ? static_cast<double>(done_) / seconds : 0;
  const double left = rate > 0 ? static_cast<double>(total_ - done_) / rate : 0;
  std::ostringstream line;
  line.precision(rate < 100 ? 1 : 0);
  line << std::fixed;
  if (terminal_) {
    constexpr std::int64_t width = 30;
    const auto filled = static_cast<std::size_t>(total_ > 0 ? width * done_ / total_ : width);
    line << "\r\x1b[K" << what_ << " [" << std::string(filled, '#') << std::string(width - filled, '.') << "] ";
  } else {
    line << what_ << ": ";
  }
  line << done_ << '/' << total_ << ", " << rate << "/s, ";
  line.precision(0);
  line << left << " s left" << (terminal_ ? "" : "\n");
  std::fputs(line.str().c_str(), stderr);
  std::fflush(stderr);
  shown_ = true;
}

}  // namespace clip
