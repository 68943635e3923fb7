#include "clip/data/flickr8k.hpp"

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "clip/io/file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/temporary.hpp"

namespace clip {
namespace {

using namespace clip::test;
namespace fs = std::filesystem;

void write_pictures(const TemporaryFolder& folder, const std::string& place, const std::vector<std::string>& names) {
  fs::create_directories(folder / place);
  for (const std::string& name : names) folder.write((fs::path(place) / name).string(), "");
}
std::vector<std::string> texts(const Captions& data) {
  std::vector<std::string> all;
  for (const Caption& caption : data.captions)
    all.push_back(data.pictures[static_cast<std::size_t>(caption.picture)].name + ": " + caption.text);
  return all;
}
std::vector<std::string> names(const Captions& data, Split split) {
  std::vector<std::string> all;
  for (const Picture& picture : data.pictures)
    if (picture.split == split) all.push_back(picture.name);
  return all;
}
using Texts = std::vector<std::string>;
const Flickr8kOptions all_train{.shares = {.val = 0, .test = 0}};

TEST_CASE("Kaggle's layout is read", "[flickr8k]") {
  const TemporaryFolder folder;
  folder.write(
      "captions.txt",
      "\xef\xbb\xbfimage,caption\r\na.jpg,A dog .\r\nb.jpg,\"Two cats , \"\"one\"\" sofa\"\r\na.jpg,\" A puppy \"\r\n");
  write_pictures(folder, "Images", {"a.jpg", "b.jpg"});
  const Captions data = read_flickr8k(folder.path(), all_train);
  CHECK(texts(data) == Texts{"a.jpg: A dog .", "b.jpg: Two cats , \"one\" sofa", "a.jpg: A puppy"});
  CHECK(data.pictures[0].path == folder / "Images/a.jpg");
  CHECK(data.file == folder / "captions.txt");
  CHECK(!data.fixed_split);
  CHECK(data.problems.empty());
  CHECK(data.summary() == "2 pictures with 3 captions");

  folder.write("captions.txt", "id,caption, image\n0,A dog,a.jpg\n1,A cat,b.jpg\n");  // in any order, others ignored
  CHECK(texts(read_flickr8k(folder.path(), all_train)) == Texts{"a.jpg: A dog", "b.jpg: A cat"});
  fs::rename(folder / "captions.txt", folder / "captions.csv");
  CHECK(texts(read_flickr8k(folder.path(), all_train)) == Texts{"a.jpg: A dog", "b.jpg: A cat"});
}

TEST_CASE("pictures are looked for in three places", "[flickr8k]") {
  const TemporaryFolder folder;
  folder.write("captions.txt", "image,caption\na.jpg,1\nb.jpg,2\nc.jpg,3\n");
  write_pictures(folder, "Images", {"a.jpg"});
  write_pictures(folder, "Flicker8k_Dataset", {"a.jpg", "b.jpg"});
  write_pictures(folder, "", {"a.jpg", "b.jpg", "c.jpg"});
  const Captions data = read_flickr8k(folder.path(), all_train);
  REQUIRE(data.pictures.size() == 3);
  CHECK(data.pictures[0].path == folder / "Images/a.jpg");
  CHECK(data.pictures[1].path == folder / "Flicker8k_Dataset/b.jpg");
  CHECK(data.pictures[2].path == folder / "c.jpg");
}

TEST_CASE("the original layout is read, its broken entry and split files too", "[flickr8k]") {
  const TemporaryFolder folder;
  folder.write("Flickr8k.token.txt",
               "a.jpg#0\tA dog .\na.jpg#1\tA puppy\t.\n2258277193_586949ec62.jpg.1#0\tA man\nb#1.jpg#0\tA "
               "cat\nc.jpg#0\tA fox\n");
  write_pictures(folder, "Flicker8k_Dataset", {"a.jpg", "b#1.jpg", "c.jpg", "2258277193_586949ec62.jpg"});
  const Captions plain = read_flickr8k(folder.path(), all_train);
  CHECK(texts(plain) == Texts{"a.jpg: A dog .", "a.jpg: A puppy\t.", "b#1.jpg: A cat", "c.jpg: A fox"});
  CHECK(plain.missing_pictures == Texts{"2258277193_586949ec62.jpg.1"});
  CHECK(plain.summary() == "3 pictures with 4 captions; 1 missing pictures");

  folder.write("Flickr_8k.trainImages.txt", "a.jpg\r\n\r\na.jpg\r\n");
  folder.write("Flickr_8k.testImages.txt", "b#1.jpg\n");
  CHECK(throws_with([&] { read_flickr8k(folder.path()); }, "but missing: Flickr_8k.devImages.txt"));
  folder.write("Flickr_8k.devImages.txt", "none.jpg\n");
  const Captions data = read_flickr8k(folder.path());
  CHECK(data.fixed_split);
  CHECK(names(data, Split::train) == Texts{"a.jpg"});
  CHECK(names(data, Split::test) == Texts{"b#1.jpg"});
  CHECK(names(data, Split::val).empty());
  CHECK(data.unlisted_pictures == 2);  // the broken one and c.jpg
  CHECK(data.duplicate_pictures == 1);
  CHECK(captions_of(data, Split::test) == std::vector<std::int32_t>{2});
  folder.write("Flickr_8k.devImages.txt", "c.jpg\na.jpg\n");
  CHECK(throws_with([&] { read_flickr8k(folder.path()); }, "line 2 of " + quoted(folder / "Flickr_8k.devImages.txt") +
                                                               " has 'a.jpg', which is in the list for train too"));
}

TEST_CASE("Karpathy's layout is read", "[flickr8k]") {
  const TemporaryFolder folder;
  folder.write("captions.txt", "image,caption\nz.jpg,not read\n");
  folder.write("dataset_flickr8k.json", R"({"dataset": "flickr8k", "images": [
    {"sentids": [0, 1], "imgid": 0, "split": "train", "filename": "a.jpg", "sentences": [
      {"tokens": ["a", "dog"], "raw": "A dog .", "imgid": 0, "sentid": 0}, {"raw": "Größe"}]},
    {"split": "val", "filename": "b.jpg", "sentences": [{"raw": "A cat"}]},
    {"split": "restval", "filename": "c.jpg", "sentences": [{"raw": "A fox"}]},
    {"split": "test", "filename": "d.jpg", "sentences": [{"raw": "A cow"}, {"raw": ""}, 3]},
    {"split": "train", "filename": "a.jpg", "sentences": [{"raw": "A puppy"}]},
    {"split": "odd", "filename": "e.jpg", "sentences": []}, {"split": "train"}, 7]})");
  write_pictures(folder, "Images", {"a.jpg", "b.jpg", "c.jpg", "d.jpg"});
  const Captions data = read_flickr8k(folder.path());
  CHECK(data.fixed_split);
  CHECK(texts(data) ==
        Texts{"a.jpg: A dog .", "a.jpg: Größe", "b.jpg: A cat", "c.jpg: A fox", "d.jpg: A cow", "a.jpg: A puppy"});
  CHECK(names(data, Split::train) == Texts{"a.jpg", "c.jpg"});
  CHECK(names(data, Split::val) == Texts{"b.jpg"});
  CHECK(names(data, Split::test) == Texts{"d.jpg"});
  CHECK(data.duplicate_pictures == 1);
  CHECK(data.unreadable_rows == 5);
  CHECK(message(data.problems[0]) ==
        quoted(folder / "dataset_flickr8k.json") + ": images[3]: expected a text 'raw' in sentences[1]");
  const auto refuses = [&](const std::string& json, const std::string& part) {
    folder.write("dataset_flickr8k.json", json);
    CHECK(throws_with([&] { read_flickr8k(folder.path()); }, part));
  };
  refuses("{\"images\": [", "is not valid JSON");
  refuses("{\"images\": 3}", "expected a list 'images'");
  refuses("[]", "expected a list 'images'");
  refuses("{\"images\": []}", "no caption in");
  refuses(R"({"images": [{"filename": "a/b.jpg"}]})", "expected the name of a picture without folders");
  refuses(
      R"({"images": [{"filename": "a", "split": "val", "sentences": []}, {"filename": "a", "split": "test", "sentences": []}]})",
      "in two splits: val and test");
}

TEST_CASE("rows that cannot be read are reported by line, and counted", "[flickr8k]") {
  const TemporaryFolder folder;
  write_pictures(folder, "Images", {"a.jpg"});
  folder.write("captions.txt",
               "image,caption\na.jpg\na.jpg,A dog\na.jpg,\n,A cat\na.jpg,\"open\na.jpg,\xff\na.jpg,a,b\n");
  const Captions data = read_flickr8k(folder.path(), all_train);
  CHECK(texts(data) == Texts{"a.jpg: A dog"});
  std::map<std::size_t, std::string> problems;
  for (const Problem& problem : data.problems) problems[problem.line] = problem.what;
  CHECK(problems.size() == 6);
  CHECK(data.unreadable_rows == 6);
  CHECK(problems[2] == "expected 2 fields, got 1");
  CHECK(problems[4] == "its caption is empty");
  CHECK(problems[5] == "it names no picture");
  CHECK(problems[6] == "a quote opens a field here and is never closed");
  CHECK(problems[7].find("not valid UTF-8") != std::string::npos);
  CHECK(problems[8].find("got more") != std::string::npos);
  CHECK(message(data.problems[0]) == quoted(folder / "captions.txt") + " line 2: expected 2 fields, got 1");

  std::string many = "image,caption\na.jpg,A dog\n";
  for (int i = 0; i < 5000; ++i) many += "bad\n";
  folder.write("captions.txt", many);
  const Captions worse = read_flickr8k(folder.path(), all_train);
  CHECK(worse.problems.size() == 1000);
  CHECK(worse.unreadable_rows == 5000);

  folder.write("Flickr8k.token.txt", "a.jpg#0 no tab\na.jpg#0\tA dog\na.jpg\tno number\na.jpg#0\t\xc3\n");
  const Captions tokens = read_flickr8k(folder.path(), all_train);
  CHECK(texts(tokens) == Texts{"a.jpg: A dog"});
  REQUIRE(tokens.problems.size() == 3);
  CHECK(tokens.problems[0].line == 1);
  CHECK(tokens.problems[1].line == 3);
  CHECK(tokens.problems[2].line == 4);
}

TEST_CASE("duplicates are left out and counted", "[flickr8k]") {
  const TemporaryFolder folder;
  write_pictures(folder, "Images", {"a.jpg", "b.jpg"});
  folder.write("captions.txt", "image,caption\na.jpg,A dog\nb.jpg,A dog\na.jpg,A dog\na.jpg, A dog \n");
  const Captions data = read_flickr8k(folder.path(), all_train);
  CHECK(texts(data) == Texts{"a.jpg: A dog", "b.jpg: A dog"});
  CHECK(data.duplicate_captions == 2);
  CHECK(read_flickr8k(folder.path(), {.shares = all_train.shares, .keep_duplicates = true}).captions.size() == 4);
}

TEST_CASE("names that lead out of the folder are refused, with their line", "[flickr8k]") {
  const TemporaryFolder folder;
  write_pictures(folder, "Images", {"a.jpg"});
  for (const std::string name : {"../a.jpg", "/etc/passwd", "x/a.jpg", "..", "."}) {
    folder.write("captions.txt", "image,caption\na.jpg,A dog\n" + name + ",A cat\n");
    CHECK(throws_with([&] { read_flickr8k(folder.path(), all_train); },
                      "without folders in line 3 of " + quoted(folder / "captions.txt") + ", got '" + name + "'"));
  }
}

TEST_CASE("a data set that is none says so", "[flickr8k]") {
  const TemporaryFolder folder;
  const auto read = [&] { read_flickr8k(folder.path(), all_train); };
  CHECK(throws_with(read, "no captions in"));
  const std::pair<const char*, const char*> bad[] = {
      {"", "expected a header 'image,caption'"},
      {"a.jpg,A dog\n", "captions.txt', line 1, got 0"},
      {"image,caption,image\n", "expected one column 'image' in the header"},
      {"image,caption\n", "no caption in"},
      {"image,caption\nbad\n", "line 2: expected 2 fields, got 1"},
      {"image,caption\na.jpg,A dog\n", "found none of the 1 pictures"}};
  for (const auto& [csv, message] : bad) {
    folder.write("captions.txt", csv);
    CHECK(throws_with(read, message));
  }
  CHECK(throws_with([&] { read_flickr8k(folder / "none"); }, "expected a folder"));
}

TEST_CASE("the split is by picture, and does not depend on which are there", "[flickr8k]") {
  const TemporaryFolder folder;
  std::string csv = "image,caption\n";
  std::vector<std::string> pictures;
  for (int i = 0; i < 50; ++i) {
    pictures.push_back(std::to_string(i) + ".jpg");
    for (int c = 0; c < 5; ++c) csv += pictures.back() + ",caption " + std::to_string(c) + '\n';
  }
  folder.write("captions.txt", csv);
  write_pictures(folder, "Images", pictures);
  const Captions data = read_flickr8k(folder.path(), {.seed = 3});
  CHECK(data.captions.size() == 250);
  CHECK(names(data, Split::test).size() == 5);
  CHECK(names(data, Split::val).size() == 5);
  CHECK(captions_of(data, Split::train).size() == 200);
  CHECK(captions_of(data, Split::val).size() == 25);
  fs::remove(folder / "Images" / names(data, Split::train)[0]);
  const Captions fewer = read_flickr8k(folder.path(), {.seed = 3});
  CHECK(fewer.pictures.size() == 49);
  CHECK(names(fewer, Split::test) == names(data, Split::test));
  CHECK(names(read_flickr8k(folder.path(), {.seed = 4}), Split::test) != names(data, Split::test));

  const Captions some = limited(data, 20);
  CHECK(some.pictures.size() == 20);
  CHECK(some.captions.size() == 100);
  CHECK(names(some, Split::test).size() == 2);
  CHECK(texts(some)[0] == texts(data)[0]);
  CHECK(names(limited(data, 1), Split::val).size() == 1);
  CHECK(limited(data, 99).pictures.size() == 50);
}

}  // namespace
}  // namespace clip
