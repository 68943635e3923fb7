// Bound by instructions: a table look-up, a step of a trie and a byte copied for each character. The peer is Hugging
// Face's tokenizers: bench/compare/wordpiece.py runs both on these texts, in turns.
#include "clip/text/wordpiece.hpp"

#include <benchmark/benchmark.h>

#include <fstream>
#include <string>
#include <vector>

#include "clip/core/device.hpp"

namespace {

using namespace clip;

const std::string folder = "models/all-MiniLM-L6-v2";  // brought by scripts/get_minilm.sh

/// 50,000 sentences of 6 to 20 words of the vocabulary; with accents on the letters e and o, or none. The script makes
/// the same.
std::vector<std::string> sentences(bool accents) {
  std::vector<std::string> words, texts;
  std::ifstream vocabulary(folder + "/vocab.txt");
  for (std::string word; std::getline(vocabulary, word);)
    if (word.find_first_not_of("abcdefghijklmnopqrstuvwxyz") == std::string::npos) words.push_back(word);
  std::uint64_t state = 1;
  const auto random = [&](std::uint64_t below) {
    state = state * 6364136223846793005 + 1442695040888963407;
    return (state >> 33) % below;
  };
  const std::string endings[] = {"", "", "", ",", ".", "s", "ing", "est"};
  for (int i = 0; i < 50000; ++i) {
    std::string text = "A";
    for (std::uint64_t left = 6 + random(15); left > 0; --left) {
      text += ' ' + words[random(words.size())];
      text += endings[random(8)];
    }
    std::string accented;
    for (const char c : text) accented += c == 'e' ? std::string("é") : c == 'o' ? std::string("ö") : std::string(1, c);
    texts.push_back(accents ? accented : text);
  }
  return texts;
}

void encode(benchmark::State& state, bool accents, bool all_threads) {
  if (!std::ifstream(folder + "/vocab.txt")) return state.SkipWithError("run scripts/get_minilm.sh, in its folder");
  const WordPiece tokenizer = WordPiece::load(folder);
  const std::vector<std::string> texts = sentences(accents);
  std::int64_t bytes = 0, tokens = 0;
  for (const std::string& text : texts) bytes += std::ssize(text);
  const int threads = num_threads();
  if (!all_threads) set_num_threads(1);
  for (auto _ : state) tokens = tokenizer.encode(texts).ids.numel();
  set_num_threads(threads);
  state.SetBytesProcessed(state.iterations() * bytes);
  state.counters["tokens"] = static_cast<double>(tokens);
}
BENCHMARK_CAPTURE(encode, plain, false, false)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(encode, accents, true, false)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(encode, plain_all_threads, false, true)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(encode, accents_all_threads, true, true)->Unit(benchmark::kMillisecond)->UseRealTime();

void load(benchmark::State& state) {
  if (!std::ifstream(folder + "/vocab.txt")) return state.SkipWithError("run scripts/get_minilm.sh, in its folder");
  for (auto _ : state) benchmark::DoNotOptimize(WordPiece::load(folder).vocab_size());
}
BENCHMARK(load)->Unit(benchmark::kMillisecond);

}  // namespace
