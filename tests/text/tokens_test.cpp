#include "clip/text/tokens.hpp"

#include <vector>

#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"

namespace clip {
namespace {

using namespace clip::test;
using Ids = std::vector<std::int32_t>;

TEST_CASE("rounded tokens have the same texts and one of zeros behind them", "[text]") {
  struct Case {
    std::vector<std::size_t> lengths;
    std::int64_t most, rows, longest;
  };
  for (const Device& device : devices())
    for (const Case& c : {Case{{3, 0, 5}, 512, 64, 64},
                          {{}, 512, 64, 64},
                          {{63}, 77, 64, 64},
                          {{64}, 77, 128, 64},  // never none: a text without tokens has no first one
                          {{65, 1}, 77, 128, 77},
                          {{130, 2}, 512, 192, 192},
                          {{7, 20}, 20, 40, 20},
                          {{7, 13}, 20, 40, 20}}) {
      std::vector<Ids> texts;
      for (const std::size_t length : c.lengths) texts.emplace_back(length, static_cast<std::int32_t>(9 + length));
      for (const bool ends : {false, true}) {
        Tokens tokens = Tokens::pack(texts, device);
        if (ends) tokens.ends = full({std::ssize(texts)}, 2, dtype::i32, device);
        const Tokens rounded = tokens.rounded(c.most);
        CHECK(rounded.ids.device() == device);
        CHECK(rounded.ids.shape() == Shape{c.rows});
        CHECK(rounded.positions.shape() == Shape{c.rows});
        CHECK(rounded.longest == c.longest);
        texts.emplace_back(static_cast<std::size_t>(c.rows - tokens.ids.numel()), 0);
        CHECK(std::ssize(texts.back()) <= rounded.longest);
        const Tokens expected = Tokens::pack(texts);
        CHECK(rounded.ids.to_vector<std::int32_t>() == expected.ids.to_vector<std::int32_t>());
        CHECK(rounded.offsets.to_vector<std::int32_t>() == expected.offsets.to_vector<std::int32_t>());
        Ids positions = tokens.positions.to_vector<std::int32_t>();
        positions.resize(static_cast<std::size_t>(c.rows));  // zeros: any model has that position
        CHECK(rounded.positions.to_vector<std::int32_t>() == positions);
        REQUIRE(rounded.ends.defined() == ends);
        texts.pop_back();
        if (!ends) continue;
        Ids last(texts.size(), 2);
        last.push_back(static_cast<std::int32_t>(c.rows - 1));
        CHECK(rounded.ends.to_vector<std::int32_t>() == last);
      }
    }
}

}  // namespace
}  // namespace clip
