#pragma once
#include <string>

#include "src/text/clip_characters.hpp"

namespace clip {

/// A text as OpenAI's CLIP cleans it before its tokenizer: what ftfy does to texts whose encoding is sound (HTML
/// entities in lines without a `<`, ligatures, widths, curly quotes, control characters and terminal escapes go, the
/// rest is composed to Normalization Form C), then HTML entities twice. Repairs of a broken encoding, as of `sÃ³`, are
/// not made.
void clean_text(std::u32string& text, const ClipCharacters& characters);

}  // namespace clip
