#include "examples/support/metrics.hpp"

#include <iomanip>
#include <sstream>

namespace clip {

Json to_json(const EpochMetrics& m) {
  return {{"epoch", m.epoch},
          {"train_loss", m.train_loss},
          {"val_loss", m.val_loss},
          {"lr", m.lr},
          {"t2i_r1", m.val.text_to_image.r1},
          {"t2i_r5", m.val.text_to_image.r5},
          {"t2i_r10", m.val.text_to_image.r10},
          {"t2i_median_rank", m.val.text_to_image.median_rank},
          {"i2t_r1", m.val.image_to_text.r1},
          {"i2t_r5", m.val.image_to_text.r5},
          {"i2t_r10", m.val.image_to_text.r10},
          {"i2t_median_rank", m.val.image_to_text.median_rank},
          {"seconds", m.seconds},
          {"images_per_second", m.images_per_second}};
}

EpochMetrics metrics_from(const Json& line) {
  EpochMetrics m;
  m.epoch = line.at("epoch");
  m.train_loss = line.at("train_loss");
  m.val_loss = line.at("val_loss");
  m.lr = line.at("lr");
  m.val.text_to_image.r1 = line.at("t2i_r1");
  m.val.text_to_image.r5 = line.at("t2i_r5");
  m.val.text_to_image.r10 = line.at("t2i_r10");
  m.val.text_to_image.median_rank = line.at("t2i_median_rank");
  m.val.image_to_text.r1 = line.at("i2t_r1");
  m.val.image_to_text.r5 = line.at("i2t_r5");
  m.val.image_to_text.r10 = line.at("i2t_r10");
  m.val.image_to_text.median_rank = line.at("i2t_median_rank");
  m.seconds = line.at("seconds");
  m.images_per_second = line.at("images_per_second");
  return m;
}

std::string table(const RetrievalRecall& recall, const std::string& split) {
  std::ostringstream text;
  text << std::fixed << std::setprecision(1);
  text << split << ": " << recall.text_to_image.queries << " captions, " << recall.text_to_image.gallery
       << " pictures\n                    R@1    R@5   R@10  median rank\n";
  const auto line = [&](const char* name, const Recall& r) {
    text << "  " << name << std::setw(8) << 100 * r.r1 << ' ' << std::setw(6) << 100 * r.r5 << ' ' << std::setw(6)
         << 100 * r.r10 << std::setw(13) << r.median_rank << '\n';
  };
  line("text to image ", recall.text_to_image);
  line("image to text ", recall.image_to_text);
  return text.str();
}

}  // namespace clip
