#pragma once
// An interpreter for the pickles that torch.save and TorchScript write. It builds inert values and can run nothing:
// names of Python objects are looked up in a fixed table, and calling is possible on what that table allows.
#include <cstdint>
#include <string_view>
#include <vector>

#include "src/io/bytes.hpp"

namespace clip {

/// A value of a pickle. Values refer to each other by index, so structures that contain themselves or are nested a
/// million times are freed like any vector.
struct PickleValue {
  enum class Kind : std::uint8_t {
    none,
    boolean,       // integer: 0 or 1
    integer,       // integer
    real,          // not kept: no tensor needs it
    text,          // text
    list,          // items
    tuple,         // items
    dict,          // items: key, value, key, value …
    ordered_dict,  // the same: collections.OrderedDict
    function,      // text: module and name; may be called
    storage_type,  // text: "FloatStorage" …
    record_type,   // text: a class of TorchScript
    record,        // items: its state, a dict, once BUILD has given it
    storage,       // items: a storage_type, a text that is its key, an integer that is its number of elements
    tensor,        // items: a storage, an integer that is the offset in it, a tuple for the shape, one for the strides
  };
  Kind kind = Kind::none;
  std::int64_t integer = 0;
  std::string_view text = {};  // in the bytes of the file
  std::vector<std::uint32_t> items = {};
};

struct Pickle {
  std::vector<PickleValue> values;
  std::uint32_t root = 0;
};

/// Runs one pickle, up to its STOP. Throws, naming file, opcode and name, on whatever the rules above do not allow, on
/// malformed or endless programs, and on more than a million values.
Pickle read_pickle(ByteReader& bytes);

}  // namespace clip
