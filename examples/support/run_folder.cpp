#include "examples/support/run_folder.hpp"

#include <cstdint>

#include "clip/core/error.hpp"
#include "clip/io/file.hpp"
#include "src/io/folder.hpp"
#include "src/io/json.hpp"

namespace clip {
namespace {

namespace fs = std::filesystem;

constexpr const char *embeddings_name = "embeddings.safetensors", *pictures_name = "pictures.json";

RunPicture picture_of(const Json& json, const fs::path& file, std::size_t at) {
  const auto wrong = [&](const char* expected) {
    fail("run", "expected ", expected, " for picture ", at, " of ", quoted(file));
  };
  if (!json.is_object() || !json.contains("path") || !json["path"].is_string() || !json.contains("split") ||
      !json["split"].is_string() || !json.contains("captions") || !json["captions"].is_array())
    wrong("'path', 'split' and 'captions'");
  RunPicture picture{json["path"].get<std::string>(), split_of(json["split"].get<std::string>()), {}};
  for (const Json& caption : json["captions"]) {
    if (!caption.is_string()) wrong("texts as 'captions'");
    picture.captions.push_back(caption.get<std::string>());
  }
  return picture;
}

}  // namespace

Split split_of(const std::string& name) {
  for (const Split split : {Split::train, Split::val, Split::test})
    if (name == name_of(split)) return split;
  fail("split", "expected train, val or test, got '", printable(name), "'");
}

std::vector<RunPicture> run_pictures(const Captions& data) {
  std::vector<RunPicture> pictures;
  for (const Picture& picture : data.pictures) pictures.push_back({fs::absolute(picture.path), picture.split, {}});
  for (const Caption& caption : data.captions)
    pictures[static_cast<std::size_t>(caption.picture)].captions.push_back(caption.text);
  return pictures;
}

RunIndex RunIndex::load(const fs::path& run) {
  const fs::path folder = run / "index", file = folder / pictures_name;
  check(is_there(file) && is_there(folder / embeddings_name), "run", "no ", embeddings_name, " and ", pictures_name,
        " in ", quoted(folder), ": is the training run finished?");
  RunIndex index{Index::load(folder / embeddings_name), {}};
  const Json json = parse_json(read_file(file), file);
  check(json.is_array(), "run", "expected an array in ", quoted(file), ", got ", json.type_name());
  for (const Json& picture : json) index.pictures.push_back(picture_of(picture, file, index.pictures.size()));
  check(std::ssize(index.pictures) == index.images.size(), "run", quoted(file), " has ", index.pictures.size(),
        " pictures, but the index beside it ", index.images.size(), ": let the training run finish again");
  return index;
}

RunIndex RunIndex::only(Split split) const {
  std::vector<std::int64_t> rows;
  std::vector<RunPicture> chosen;
  for (std::size_t i = 0; i < pictures.size(); ++i)
    if (pictures[i].split == split) {
      rows.push_back(static_cast<std::int64_t>(i));
      chosen.push_back(pictures[i]);
    }
  return {images.subset(rows), std::move(chosen)};
}

void save_run_index(const fs::path& run, const Index& images, std::span<const RunPicture> pictures) {
  check(std::ssize(pictures) == images.size(), "run", "expected a picture for each of ", images.size(), " rows, got ",
        pictures.size());
  Json json = Json::array();
  for (const RunPicture& picture : pictures)
    json.push_back(
        {{"path", picture.path.string()}, {"split", name_of(picture.split)}, {"captions", picture.captions}});
  const fs::path folder = run / "index";
  make_folder(folder);
  images.save(folder / embeddings_name);
  write_file(folder / pictures_name, json.dump(1, ' ', false, Json::error_handler_t::replace) + '\n');
}

}  // namespace clip
