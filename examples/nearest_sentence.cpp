// The sentences of a file nearest to a question.
#include <iomanip>
#include <iostream>

#include "clip/autograd.hpp"
#include "clip/io/file.hpp"
#include "clip/io/lines.hpp"
#include "clip/models/text_encoder.hpp"
#include "clip/retrieval/index.hpp"
#include "examples/support/program.hpp"

int main(int argc, char** argv) {
  clip::Program program("nearest_sentence", "Finds the three sentences of a file that are nearest to a question.",
                        "nearest_sentence models/all-MiniLM-L6-v2 tests/data/sentences.txt \"Puppies by the sea\"");
  std::string model, file;
  std::vector<std::string> question(1);
  program.option("MODEL_DIR", &model, "folder of a sentence encoder").required();
  program.option("FILE", &file, "text file, one sentence a line").required();
  program.option("QUESTION", &question[0], "what to look for").required();
  return program.run(argc, argv, [&] {
    const clip::NoGrad guard;
    const auto encode = clip::TextEncoder::load(model);  // tokenizer, model and pooling, as the folder says
    const std::vector<std::string> sentences = clip::read_lines(file);
    const clip::Index index = clip::Index::build(encode(sentences));
    const std::vector<clip::Hit> nearest = index.search_all(encode(question), 3)[0];
    std::cout << std::fixed << std::setprecision(3);
    for (const clip::Hit& hit : nearest)
      std::cout << hit.score << "  " << clip::printable(sentences[static_cast<std::size_t>(hit.row)]) << '\n';
  });
}
