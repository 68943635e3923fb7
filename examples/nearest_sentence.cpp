// The sentences of a file nearest to a question: nearest_sentence MODEL_DIR FILE QUESTION
#include <algorithm>
#include <iostream>
#include <numeric>

#include "clip/autograd.hpp"
#include "clip/io/lines.hpp"
#include "clip/models/text_encoder.hpp"
#include "clip/ops/matmul.hpp"

int main(int argc, char** argv) try {
  clip::check(argc == 4, "nearest_sentence", "expected MODEL_DIR FILE QUESTION");
  const clip::NoGrad guard;
  const auto encode = clip::TextEncoder::load(argv[1]);  // tokenizer, model and pooling, as the folder says
  const std::vector<std::string> sentences = clip::read_lines(argv[2]), question = {argv[3]};
  const clip::Tensor scores = clip::matmul(encode(question), encode(sentences), {.transpose_b = true});  // [1, N]

  const std::vector<float> score = scores.to_vector();
  std::vector<std::size_t> order(score.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return score[a] > score[b]; });
  for (std::size_t i = 0; i < std::min<std::size_t>(order.size(), 3); ++i)
    std::cout << score[order[i]] << "  " << sentences[order[i]] << '\n';
} catch (const std::exception& e) {
  std::cerr << "error: " << e.what() << '\n';
  return 1;
}
