// Searches an array for bench/compare/search.py: writes the rows found, then searches as often as asked.
#include <iostream>
#include <map>
#include <string>

#include "bench/compare/serve.hpp"
#include "clip/io/npy.hpp"
#include "clip/retrieval/index.hpp"

int main(int argc, char** argv) {
  using namespace clip;
  try {
    const std::map<std::string, dtype> types{{"f32", dtype::f32}, {"f16", dtype::f16}, {"u8", dtype::u8}};
    check(argc == 5 && types.contains(argv[4]), "search_time", "expected ROWS.npy QUERIES.npy FOUND.npy f32|f16|u8");
    const Index index =
        Index::build(read_npy(argv[1]), {.metric = Metric::inner_product, .storage = types.at(argv[4])});
    const Tensor queries = read_npy(argv[2]);
    const auto search = [&] { return index.search_all(queries, 10); };
    std::vector<std::int32_t> rows;
    for (const auto& hits : search())
      for (const Hit& hit : hits) rows.push_back(static_cast<std::int32_t>(hit.row));
    write_npy(argv[3], Tensor::from(rows, {queries.shape(0), 10}));
    bench::serve([&] { search(); });
  } catch (const std::exception& e) {
    std::cerr << "error: " << e.what() << '\n';
    return 1;
  }
}
