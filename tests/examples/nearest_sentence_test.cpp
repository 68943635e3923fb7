#include <filesystem>
#include <string>

#include "tests/models/small_models.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/data.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/run_program.hpp"

namespace {

using namespace clip::test;

TEST_CASE("the README's nearest sentences are what the program prints", "[nearest_sentence]") {
  const std::string model = CLIP_MODELS "/all-MiniLM-L6-v2";
  if (!std::filesystem::exists(model)) {
    WARN("not checked: scripts/get_minilm.sh brings the model");
    return;
  }
  const Outcome outcome = run_program("nearest_sentence", {model, test_data("sentences.txt"), "Puppies by the sea"});
  CHECK(outcome.status == 0);
  CHECK(outcome.error.empty());
  std::string shown = "prints\n\n";
  for (std::size_t at = 0, end; (end = outcome.out.find('\n', at)) != std::string::npos; at = end + 1)
    shown += "    " + outcome.out.substr(at, end + 1 - at);
  CHECK(contains(clip::read_file(test_data("../../README.md")), shown + "\n"));
}

TEST_CASE("nearest_sentence is a program like the others", "[nearest_sentence]") {
  const TemporaryFolder folder;
  write_small_bert(folder / "bert", {"a", "dog"});
  const std::string model = folder / "bert", file = folder.write("lines.txt", "dog \x1b[2J\na\n");
  const Outcome outcome = run_program("nearest_sentence", {model, file, "dog"});
  CHECK(outcome.status == 0);
  CHECK(contains(outcome.out, "  dog \\x1b[2J\n"));
  CHECK(std::count(outcome.out.begin(), outcome.out.end(), '\n') == 2);
  CHECK(run_program("nearest_sentence", {model, folder.write("empty.txt", ""), "dog"}).out.empty());
  CHECK(contains(run_on_full_disk("nearest_sentence", {model, file, "dog"}), "cannot write to stdout"));
  CHECK(contains(run_on_full_disk("nearest_sentence", {"--help"}), "cannot write to stdout"));
  CHECK(contains(run_program("nearest_sentence", {"--help"}).out, "Example:"));
  CHECK(run_program("nearest_sentence", {}).status == 2);
  CHECK(run_program("nearest_sentence", {"a", "b", "c", "d"}).status == 2);
  CHECK(run_program("nearest_sentence", {"a", "b", "c"}).status == 1);
}

}  // namespace
