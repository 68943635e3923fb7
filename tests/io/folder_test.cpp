#include "src/io/folder.hpp"

#include <filesystem>
#include <string>
#include <vector>

#include "clip/image/preprocess.hpp"
#include "clip/io/file.hpp"
#include "clip/io/hash.hpp"
#include "clip/io/safetensors.hpp"
#include "clip/models/text_encoder.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/temporary.hpp"

namespace clip {
namespace {

using namespace clip::test;
namespace fs = std::filesystem;

TEST_CASE("folders are made, listed and searched in order", "[folder]") {
  const TemporaryFolder folder;
  make_folder(folder / "b/c");
  make_folder(folder / "b/c");
  make_folder(folder / ".hidden");
  for (const char* name : {"b/c/1", "b/2", "a", ".hidden/3", "b/.4"}) folder.write(name, "");
  fs::create_directory_symlink(folder / "b", folder / "link");
  fs::create_symlink("a", folder / "z");
  fs::create_symlink("nowhere", folder / "y");
  CHECK(list_folder(folder / "b") == std::vector{folder / "b/.4", folder / "b/2", folder / "b/c"});
  CHECK(files_below(folder.path()) == std::vector{folder / "a", folder / "b/2", folder / "b/c/1", folder / "z"});
  CHECK(is_folder(folder / "link"));
  CHECK(is_there(folder / "a"));
  CHECK(!is_folder(folder / "a"));
  CHECK(!is_there(folder / "y"));
  CHECK(!is_there(folder / "a/b"));
}

TEST_CASE("what the system refuses of a folder is an error that names it", "[folder]") {
  const TemporaryFolder folder;
  folder.write("a", "");
  CHECK(throws_with([&] { make_folder(folder / "a/b"); }, "cannot make the folder " + quoted(folder / "a/b")));
  CHECK(throws_with([&] { list_folder(folder / "none"); }, "cannot list the folder " + quoted(folder / "none")));
  fs::create_symlink("loop", folder / "loop");
  const fs::path loop = folder / "loop";
  const std::string message = "cannot open " + quoted(loop);
  CHECK(throws_with([&] { is_there(loop); }, message));
  CHECK(throws_with([&] { is_folder(loop); }, message));
  CHECK(throws_with([&] { hash_folder(loop); }, message));
  CHECK(throws_with([&] { SafeTensors::open(loop); }, message));
  CHECK(throws_with([&] { Preprocessor::load(loop); }, "cannot open " + quoted(loop / "preprocessor_config.json")));
  CHECK(throws_with([&] { TextEncoder::load(loop); }, "cannot open " + quoted(loop / "modules.json")));
}

}  // namespace
}  // namespace clip
