// libjpeg-turbo, set as Pillow sets it: the slow integer DCT and smooth upsampling, libjpeg's defaults.
//
// libjpeg reports errors by longjmp, which may not skip a destructor: between setjmp and longjmp there are only
// libjpeg's functions and objects without one.
#include <csetjmp>
#include <cstdio>
// after cstdio, which it needs
#include <jpeglib.h>
// after jpeglib.h
#include <jerror.h>

#include "src/image/decoders.hpp"

namespace clip {
namespace {

class Jpeg {
 public:
  Jpeg(Bytes file, const ImageLimits& limits) : scan_limit_(limits.scans) {
    info_.err = jpeg_std_error(&errors_);
    info_.client_data = this;
    errors_.error_exit = stop;
    errors_.emit_message = warn;
    errors_.output_message = [](j_common_ptr) {};
    source_.init_source = [](j_decompress_ptr) {};
    source_.fill_input_buffer = end_input;
    source_.skip_input_data = skip;
    source_.resync_to_restart = jpeg_resync_to_restart;
    source_.term_source = [](j_decompress_ptr) {};
    source_.next_input_byte = reinterpret_cast<const JOCTET*>(file.data());
    source_.bytes_in_buffer = file.size();
    progress_.progress_monitor = watch_scans;
  }
  ~Jpeg() { jpeg_destroy_decompress(&info_); }
  Jpeg(const Jpeg&) = delete;
  Jpeg& operator=(const Jpeg&) = delete;

  /// Size and colours. These return false after an error, and `message` says which.
  bool read_header() {
    if (setjmp(jump_) != 0) return false;
    jpeg_create_decompress(&info_);
    info_.src = &source_;
    info_.progress = &progress_;
    jpeg_read_header(&info_, TRUE);
    info_.out_color_space = channels() == 4 ? JCS_CMYK : JCS_RGB;
    return true;
  }
  bool read_rows(std::uint8_t* pixels) {
    if (setjmp(jump_) != 0) return false;
    jpeg_start_decompress(&info_);
    // The file may lack its end marker, but none of its scans.
    if (ended_ && !all_scans_read()) {
      std::snprintf(message_, sizeof message_, "the file is cut off");
      return false;
    }
    const std::size_t row_bytes = std::size_t{info_.output_width} * static_cast<std::size_t>(channels());
    while (info_.output_scanline < info_.output_height) {
      JSAMPROW row = pixels + info_.output_scanline * row_bytes;
      jpeg_read_scanlines(&info_, &row, 1);
    }
    return true;
  }
  int channels() const { return info_.num_components == 4 ? 4 : 3; }
  int width() const { return static_cast<int>(info_.image_width); }
  int height() const { return static_cast<int>(info_.image_height); }
  int components() const { return info_.num_components; }
  const char* message() const { return message_; }

 private:
  static Jpeg& self(j_common_ptr info) { return *static_cast<Jpeg*>(info->client_data); }
  static Jpeg& self(j_decompress_ptr info) { return *static_cast<Jpeg*>(info->client_data); }

  [[noreturn]] static void stop(j_common_ptr info) {
    info->err->format_message(info, self(info).message_);
    std::longjmp(self(info).jump_, 1);
  }
  /// Negative levels are warnings. libjpeg would guess on; only those that do not touch pixels may pass.
  static void warn(j_common_ptr info, int level) {
    const int code = info->err->msg_code;
    const bool harmless = code == JWRN_ADOBE_XFORM || code == JWRN_JFIF_MAJOR || code == JWRN_BOGUS_ICC ||
                          code == JWRN_NOT_SEQUENTIAL;  // parameters that a sequential scan has no use for
    if (level < 0 && !harmless) stop(info);
  }
  /// At the end of the file the decoder reads ahead even when it has all it needs, so this is no error yet: it is given
  /// an end marker, and warns when it needed more.
  static boolean end_input(j_decompress_ptr info) {
    static const JOCTET end_of_image[] = {0xff, JPEG_EOI};
    self(info).ended_ = true;
    info->src->next_input_byte = end_of_image;
    info->src->bytes_in_buffer = sizeof end_of_image;
    return TRUE;
  }
  static void skip(j_decompress_ptr info, long count) {
    if (count <= 0) return;
    if (static_cast<std::size_t>(count) > info->src->bytes_in_buffer) {
      end_input(info);
      return;
    }
    info->src->next_input_byte += count;
    info->src->bytes_in_buffer -= static_cast<std::size_t>(count);
  }
  /// Called while a file of several scans is read.
  static void watch_scans(j_common_ptr common) {
    auto* info = reinterpret_cast<j_decompress_ptr>(common);
    Jpeg& jpeg = self(info);
    if (info->input_scan_number > jpeg.scan_limit_) {
      std::snprintf(jpeg.message_, sizeof jpeg.message_, "it has more than the %d scans allowed", jpeg.scan_limit_);
      std::longjmp(jpeg.jump_, 1);
    }
    for (int i = 0; i < info->comps_in_scan; ++i) jpeg.seen_ |= 1U << info->cur_comp_info[i]->component_index;
  }
  bool all_scans_read() const {
    if (!jpeg_has_multiple_scans(const_cast<j_decompress_ptr>(&info_))) return true;  // its one scan is watched by warn
    if (info_.coef_bits == nullptr) return seen_ == (1U << info_.num_components) - 1;
    for (int c = 0; c < info_.num_components; ++c)
      for (int k = 0; k < DCTSIZE2; ++k)
        if (info_.coef_bits[c][k] != 0) return false;
    return true;
  }

  jpeg_decompress_struct info_{};
  jpeg_error_mgr errors_{};
  jpeg_source_mgr source_{};
  jpeg_progress_mgr progress_{};
  std::jmp_buf jump_{};
  char message_[JMSG_LENGTH_MAX] = "";
  int scan_limit_;
  unsigned seen_ = 0;  // components, a bit each
  bool ended_ = false;
};

}  // namespace

Image decode_jpeg(Bytes file, const std::string& name, const ImageLimits& limits) {
  Jpeg jpeg(file, limits);
  if (!jpeg.read_header()) bad_image(name, jpeg.message());
  const int components = jpeg.components();
  if (components != 1 && components != 3 && components != 4)
    bad_image(name, "expected 1, 3 or 4 colour components, got ", components);
  Image image = new_image(jpeg.width(), jpeg.height(), components == 4 ? Colors::cmyk : Colors::rgb, name, limits);
  if (!jpeg.read_rows(image.pixels.data())) bad_image(name, jpeg.message());
  // Adobe's programs store CMYK inverted; Pillow takes all files for theirs
  if (components == 4)
    for (std::uint8_t& sample : image.pixels) sample = static_cast<std::uint8_t>(255 - sample);
  return image;
}

}  // namespace clip
