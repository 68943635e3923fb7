#include "clip/core/tensor.hpp"

#include <sstream>

#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"

using namespace clip;
using clip::test::throws_with;

namespace {

std::string printed(const Tensor& t) {
  std::ostringstream out;
  out << t;
  return out.str();
}

}  // namespace

TEST_CASE("tensors are made of nested lists, vectors and constants", "[tensor]") {
  for (const Device& device : test::devices()) {
    const Tensor a = Tensor::of({{1, 2}, {3, 4}, {5, 6}}, dtype::f32, device);
    CHECK(a.shape() == Shape{3, 2});
    CHECK(a.to_vector() == std::vector<float>{1, 2, 3, 4, 5, 6});
    CHECK(Tensor::of(7, dtype::i64, device).item<std::int64_t>() == 7);
    CHECK(Tensor::of({{1}, {2}}).shape() == Shape{2, 1});
    CHECK(Tensor::of({{{1, 2, 3}}}).shape() == Shape{1, 1, 3});
    CHECK(float(Tensor::of({1.5}, dtype::bf16, device).to_vector<bf16>()[0]) == 1.5f);
    const std::vector<std::int32_t> ids{3, 1, 2};
    CHECK(Tensor::from(ids, {3}, device).to_vector<std::int32_t>() == ids);
    CHECK(full({2, 2}, 0.5, dtype::f16, device).to_vector<f16>()[3] == 0.5f);
    CHECK(zeros({0, 4}, dtype::f32, device).to_vector().empty());
  }
}

TEST_CASE("copies of a handle share their storage, clones do not", "[tensor]") {
  Tensor a = Tensor::of({1, 2, 3});
  const Tensor same = a, clone = a.clone();
  a.fill(9);
  CHECK(same.to_vector() == std::vector<float>{9, 9, 9});
  CHECK(clone.to_vector() == std::vector<float>{1, 2, 3});
  a.copy_from(clone);
  CHECK(same.to_vector() == std::vector<float>{1, 2, 3});
  const Tensor middle = a.view(1, {1});
  a.mutable_data<float>()[1] = 5;
  CHECK(middle.item() == 5);
  std::vector<float> out(3);
  a.copy_to(std::span<float>(out));
  CHECK(out == std::vector<float>{1, 5, 3});
  CHECK(
      throws_with([&] { a.copy_to(std::span<float>(out).first(2)); }, "[copy_to] expected room for 3 elements, got 2"));
}

TEST_CASE("data is aligned to 64 bytes and survives its device handle", "[tensor]") {
  for (const std::int64_t n : {1, 3, 1000, 300000, 3000000}) {
    Tensor t;
    {
      const Device device = Device::cpu();
      t = full({n}, 1, dtype::f32, device);
    }
    CHECK(reinterpret_cast<std::uintptr_t>(t.raw()) % 64 == 0);
    CHECK(t.to_vector().back() == 1);
  }
}

TEST_CASE("a tensor prints itself for people", "[tensor]") {
  CHECK(printed(Tensor::of({{1, 2.5}, {-3, 4}})) == "f32 [2, 2] on cpu\n[[1, 2.5],\n [-3, 4]]");
  CHECK(printed(Tensor::of(3, dtype::u8)) == "u8 [] on cpu\n3");
  CHECK(printed(zeros({2, 0})) == "f32 [2, 0] on cpu\n[[],\n []]");
  CHECK(printed(Tensor::of({1, 2, 3, 4, 5, 6, 7, 8, 9}, dtype::i32)) == "i32 [9] on cpu\n[1, 2, 3, ..., 7, 8, 9]");
  CHECK(printed(Tensor()) == "undefined tensor");
}

TEST_CASE("bad requests name what was expected", "[tensor]") {
  CHECK(throws_with([] { Tensor::of({{1, 2}, {3}}); }, "expected lists of equal shape, got [2] and [1]"));
  CHECK(throws_with([] { Tensor::of({1.5}, dtype::i32); }, "expected a number that fits i32, got 1.5"));
  CHECK(throws_with([] { Tensor::of({300}, dtype::u8); }, "expected a number that fits u8, got 300"));
  CHECK(throws_with([] { Tensor::from(std::vector<float>{1, 2}, {3}); }, "expected 3 values for shape [3], got 2"));
  CHECK(throws_with([] { (void)Tensor::of({1}).data<std::int32_t>(); }, "[data] expected f32 elements, got i32"));
  CHECK(throws_with([] { (void)Tensor::of({1, 2}).item(); }, "expected a tensor of one element, got shape [2]"));
  CHECK(throws_with([] { (void)Tensor().device(); }, "expected a defined tensor"));
  CHECK(throws_with([] { (void)Tensor().raw(); }, "expected a defined tensor"));
  CHECK(throws_with([] { (void)Tensor::of({1, 2}).view(1, {2}); }, "expected a part of [2], got [2] from element 1"));
  CHECK(throws_with([] { Tensor::of({1}).copy_from(Tensor::of({1, 2})); }, "expected f32 [1], got f32 [2]"));
  CHECK(throws_with([] { Tensor::of({1}, dtype::i32).requires_grad(); }, "expected f32 or bf16, got i32"));
  CHECK(
      throws_with([] { (void)Tensor::of({1}).grad(); }, "expected a tensor made with requires_grad(), got a constant"));
  CHECK(throws_with([] { Tensor({std::int64_t{1} << 62}); }, "fewer than 2^63 bytes"));
}

TEST_CASE("running out of memory says how many bytes were asked for", "[tensor]") {
  CHECK(throws_with([] { Tensor({std::int64_t{1} << 50}); }, "out of memory on cpu: asked for 4503599627370496 bytes"));
  const Tensor kept_for_reuse = Tensor({1 << 20}).clone();
  CHECK(throws_with([] { Device().allocate(SIZE_MAX); }, "out of memory on cpu: asked for 18446744073709551615 bytes"));
}

TEST_CASE("what is derived from a storage is made anew after a write", "[tensor]") {
  Tensor t = zeros({4});
  const auto make = [] { return std::shared_ptr<void>(std::make_shared<int>(0)); };
  const std::shared_ptr<void> first = t.storage()->derived(make);
  CHECK(t.storage()->derived(make) == first);
  t.fill(1);
  const std::shared_ptr<void> second = t.storage()->derived(make);
  CHECK(second != first);
  CHECK(t.storage()->derived([] { return std::shared_ptr<void>(std::make_shared<float>(0)); }) != second);
}

TEST_CASE("a build or machine without a GPU says so", "[device]") {
  CHECK(Device::cpu() == Device());
  CHECK(Device::cpu().name() == "cpu");
  const int count = Device::cuda_count();
  CHECK(throws_with([&] { Device::cuda(count); }, "[device] expected"));
  if (count > 0) {
    const Device device = Device::cuda();
    CHECK(device.name() == "cuda:0");
    CHECK_FALSE(device == Device::cuda());  // another context, with a stream of its own
    const Tensor a = Tensor::of({1, 2, 3}, dtype::f32, device);
    CHECK(a.clone().to_vector() == std::vector<float>{1, 2, 3});
    CHECK(throws_with([&] { Tensor({std::int64_t{1} << 50}, dtype::f32, device); },
                      "out of memory on cuda:0: asked for"));
    CHECK(a.to_vector() == std::vector<float>{1, 2, 3});  // the failure left nothing behind
  }
}

TEST_CASE("the number of threads is at least one", "[device]") {
  const int before = num_threads();
  set_num_threads(3);
  CHECK(num_threads() == 3);
  set_num_threads(before);
  CHECK(throws_with([] { set_num_threads(0); }, "expected at least 1 thread, got 0"));
}
