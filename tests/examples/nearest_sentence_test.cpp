#include <filesystem>
#include <string>

#include "tests/support/catch.hpp"
#include "tests/support/run_program.hpp"

namespace {

using namespace clip::test;

TEST_CASE("the README's nearest sentences are what the program prints", "[nearest_sentence]") {
  const std::string model = CLIP_MODELS "/all-MiniLM-L6-v2", file = CLIP_TEST_DATA "/sentences.txt";
  if (!std::filesystem::exists(model)) {
    WARN("not checked: scripts/get_minilm.sh brings the model");
    return;
  }
  const Outcome outcome = run_program("nearest_sentence", {model, file, "Puppies by the sea"});
  CHECK(outcome.status == 0);
  CHECK(outcome.error.empty());
  const std::string readme = clip::read_file(CLIP_TEST_DATA "/../../README.md");
  std::size_t lines = 0;
  for (std::size_t at = 0, end; (end = outcome.out.find('\n', at)) != std::string::npos; at = end + 1, ++lines) {
    const std::string sentence = outcome.out.substr(at, end - at).substr(9);  // the last digits of scores vary
    CHECK(readme.find(outcome.out.substr(at, 4)) != std::string::npos);
    CHECK(readme.find(sentence) != std::string::npos);
  }
  CHECK(lines == 3);
}

TEST_CASE("nearest_sentence says what it needs", "[nearest_sentence]") {
  CHECK(run_program("nearest_sentence", {}).error == "error: [nearest_sentence] expected MODEL_DIR FILE QUESTION\n");
  CHECK(run_program("nearest_sentence", {"a", "b", "c"}).status == 1);
}

}  // namespace
