#include "clip/io/npy.hpp"

#include "clip/io/file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/temporary.hpp"

using namespace clip;
using namespace clip::test;

namespace {

/// What NumPy 2 writes for `dict` and the elements' bytes.
std::string npy(std::string dict, const std::string& data) {
  dict.resize((10 + dict.size() + 1 + 63) / 64 * 64 - 10 - 1, ' ');
  return std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(dict.size() + 1) + std::string(1, '\0') + dict + '\n' +
         data;
}

}  // namespace

TEST_CASE("a .npy file has the bytes that NumPy writes", "[io]") {
  const TemporaryFolder folder;
  const auto written = [&](const Tensor& tensor) {
    write_npy(folder / "x.npy", tensor);
    return read_file(folder / "x.npy");
  };
  CHECK(written(Tensor::of({{1}, {0}})) ==
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }", std::string("\0\0\x80\x3f\0\0\0\0", 8)));
  CHECK(written(Tensor::of({258}, dtype::i32)) ==
        npy("{'descr': '<i4', 'fortran_order': False, 'shape': (1,), }", std::string("\x02\x01\0\0", 4)));
  CHECK(written(Tensor::of(0)) == npy("{'descr': '<f4', 'fortran_order': False, 'shape': (), }", std::string(4, '\0')));
  CHECK(throws_with([&] { written(Tensor::of({1}, dtype::bf16)); }, "expected f32 or i32"));
}

TEST_CASE("a .npy file is read back, and anything odd is refused", "[io]") {
  const TemporaryFolder folder;
  for (const Tensor& tensor :
       {Tensor::of({{1, 2, 3}, {4, 5, 6}}), Tensor::of(7), Tensor({0, 3}), Tensor::of({-1, 2}, dtype::i32)}) {
    write_npy(folder / "x.npy", tensor);
    const Tensor read = read_npy(folder / "x.npy");
    CHECK(read.shape() == tensor.shape());
    CHECK(read.dtype() == tensor.dtype());
    if (tensor.dtype() == dtype::f32) CHECK(read.to_vector() == tensor.to_vector());
  }
  const auto refused = [&](const std::string& bytes, const std::string& part) {
    CHECK(throws_with([&] { read_npy(folder.write("y.npy", bytes)); }, part));
  };
  const std::string good = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", "12345678");
  CHECK(read_npy(folder.write("y.npy", good)).shape() == Shape{2});
  for (std::size_t length = 0; length < good.size(); ++length) refused(good.substr(0, length), "y.npy");
  refused(good + "1", "should have 8 bytes");
  refused(npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", "12345678"), "'<f4' or '<i4'");
  refused(npy("{'descr': '<f4', 'fortran_order': True, 'shape': (2,), }", "12345678"), "C order");
  refused(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }", "12345678"), "C order");
  refused(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 99999999999), }", ""), "fewer");
}
