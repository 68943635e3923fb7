// The opcodes: Python's Lib/pickletools.py describes each.
#include "src/io/pickle.hpp"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include "clip/core/error.hpp"
#include "clip/core/shape.hpp"
#include "clip/io/file.hpp"

namespace clip {
namespace {

using Kind = PickleValue::Kind;
using Ref = std::uint32_t;

constexpr std::size_t longest_name = 4096, longest_storage_key = 255;
constexpr std::size_t most_values = 1'000'000, most_steps = 64'000'000;

constexpr std::string_view rebuild_tensor = "torch._utils _rebuild_tensor_v2", storage_tag = "storage",
                           rebuild_parameter = "torch._utils _rebuild_parameter",
                           ordered_dict = "collections OrderedDict";
/// What TorchScript wraps its lists of numbers and tensors in: called on a list, each gives that list.
constexpr std::string_view list_builders[] = {"torch.jit._pickle build_intlist", "torch.jit._pickle build_doublelist",
                                              "torch.jit._pickle build_boollist", "torch.jit._pickle build_tensorlist"};
constexpr std::string_view storage_types[] = {"FloatStorage", "DoubleStorage", "HalfStorage",  "BFloat16Storage",
                                              "LongStorage",  "IntStorage",    "ShortStorage", "CharStorage",
                                              "ByteStorage",  "BoolStorage"};

template <class List>
bool contains(const List& list, std::string_view name) {
  return std::find(std::begin(list), std::end(list), name) != std::end(list);
}

class Machine {
 public:
  explicit Machine(ByteReader& bytes) : bytes_(bytes) {}

  Pickle run() {
    opcode_ = bytes_.number<std::uint8_t>();
    const auto protocol = opcode_ == 0x80 ? bytes_.number<std::uint8_t>() : 0;
    if (protocol < 2 || protocol > 5) fail("pickle", bytes_.file(), " holds no pickle of protocol 2 to 5");
    std::size_t steps = 0;
    do {
      check(++steps <= most_steps, "pickle", bytes_.file(), " has more than ", most_steps, " opcodes");
      opcode_ = bytes_.number<std::uint8_t>();
    } while (step());
    if (stack_.size() != 1 || !marks_.empty()) wrong("one value left at the end");
    return {std::move(values_), stack_.back()};
  }

 private:
  /// Runs the opcode; false after the last one.
  bool step() {
    switch (opcode_) {
      case '.': return false;
      case '(': check_room(marks_.size()), marks_.push_back(stack_.size()); break;
      case 'N': push(Kind::none); break;
      case 0x88: push(Kind::boolean, 1); break;
      case 0x89: push(Kind::boolean, 0); break;
      case 'J': push(Kind::integer, bytes_.number<std::int32_t>()); break;
      case 'K': push(Kind::integer, bytes_.number<std::uint8_t>()); break;
      case 'M': push(Kind::integer, bytes_.number<std::uint16_t>()); break;
      case 0x8a: push_long(bytes_.take(bytes_.number<std::uint8_t>())); break;
      case 'G': bytes_.take(8), push(Kind::real); break;
      case 'X':
      case 'T':
      case 'B': push(Kind::text, 0, bytes_.text(bytes_.number<std::uint32_t>())); break;
      case 'U':
      case 'C':
      case 0x8c: push(Kind::text, 0, bytes_.text(bytes_.number<std::uint8_t>())); break;
      case ']': push(Kind::list); break;
      case '}': push(Kind::dict); break;
      case ')': push(Kind::tuple); break;
      case 0x85: push_tuple(take_top(1)); break;
      case 0x86: push_tuple(take_top(2)); break;
      case 0x87: push_tuple(take_top(3)); break;
      case 't': push_tuple(take_marked()); break;
      case 'a': append(take_top(1)); break;
      case 'e': append(take_marked()); break;
      case 's': set_items(take_top(2)); break;
      case 'u': set_items(take_marked()); break;
      case 'q': remember(bytes_.number<std::uint8_t>()); break;
      case 'r': remember(bytes_.number<std::uint32_t>()); break;
      case 0x94: remember(memo_.size()); break;
      case 'h': recall(bytes_.number<std::uint8_t>()); break;
      case 'j': recall(bytes_.number<std::uint32_t>()); break;
      case 0x95: bytes_.take(8); break;  // FRAME: how much follows, for those who read in pieces
      case 'c': {
        const std::string_view module = bytes_.line();
        push_global(module, bytes_.line());
        break;
      }
      case 0x93: {
        const std::vector<Ref> names = take_top(2);
        push_global(text(names[0]), text(names[1]));
        break;
      }
      case 'Q': push_storage(pop()); break;
      case 'R': call(take_top(2)); break;
      case 0x81: make_record(take_top(2)); break;
      case 'b': build(take_top(2)); break;
      default: fail("pickle", bytes_.file(), " wants the opcode ", shown_opcode(), ", which is not allowed");
    }
    return true;
  }

  std::string shown_opcode() const {
    constexpr std::pair<std::uint8_t, const char*> names[] = {
        {'R', "REDUCE"},    {0x81, "NEWOBJ"}, {'b', "BUILD"},  {'c', "GLOBAL"},      {0x93, "STACK_GLOBAL"},
        {'Q', "BINPERSID"}, {'P', "PERSID"},  {'i', "INST"},   {'o', "OBJ"},         {0x92, "NEWOBJ_EX"},
        {0x82, "EXT1"},     {0x83, "EXT2"},   {0x84, "EXT4"},  {'s', "SETITEM"},     {'u', "SETITEMS"},
        {'a', "APPEND"},    {'e', "APPENDS"}, {'t', "TUPLE"},  {'h', "BINGET"},      {'j', "LONG_BINGET"},
        {'q', "BINPUT"},    {'.', "STOP"},    {0x8a, "LONG1"}, {'r', "LONG_BINPUT"}, {0x94, "MEMOIZE"}};
    for (const auto& [code, name] : names)
      if (code == opcode_) return name;
    char hex[8];
    std::snprintf(hex, sizeof hex, "0x%02x", static_cast<unsigned>(opcode_));
    return hex;
  }
  [[noreturn]] void wrong(const std::string& expected) const {
    fail("pickle", bytes_.file(), " is damaged: ", shown_opcode(), " before byte ", bytes_.position(), " expects ",
         expected);
  }
  void expect(bool ok, const char* expected) const {
    if (!ok) wrong(expected);
  }
  /// Refuses what opcode and name would do.
  [[noreturn]] void refuse(std::string_view name) const {
    std::string dotted(name);
    std::replace(dotted.begin(), dotted.end(), ' ', '.');
    fail("pickle", bytes_.file(), " wants ", shown_opcode(), " of '", printable(dotted),
         "', which is not allowed: only tensors are read. If the file is yours, save the model's state_dict() instead");
  }

  void check_room(std::size_t values) const {
    check(values < most_values, "pickle", bytes_.file(), " has more than ", most_values, " values");
  }

  // The stack. What lies under the last mark is out of reach until the mark is taken.
  Ref push(Kind kind, std::int64_t integer = 0, std::string_view text = {}, std::vector<Ref> items = {}) {
    check_room(values_.size());
    values_.push_back({kind, integer, text, std::move(items)});
    stack_.push_back(static_cast<Ref>(values_.size() - 1));
    return stack_.back();
  }
  std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  Ref pop() {
    expect(stack_.size() > floor(), "more values on the stack");
    const Ref top = stack_.back();
    stack_.pop_back();
    return top;
  }
  std::vector<Ref> take_top(std::size_t count) {
    expect(stack_.size() - floor() >= count, "more values on the stack");
    std::vector<Ref> taken(stack_.end() - static_cast<std::ptrdiff_t>(count), stack_.end());
    stack_.resize(stack_.size() - count);
    return taken;
  }
  std::vector<Ref> take_marked() {
    expect(!marks_.empty(), "a mark");
    std::vector<Ref> taken = take_top(stack_.size() - floor());
    marks_.pop_back();
    return taken;
  }
  PickleValue& top() {
    expect(stack_.size() > floor(), "more values on the stack");
    return values_[stack_.back()];
  }
  Kind kind(Ref value) const { return values_[value].kind; }
  std::string_view text(Ref value) const {
    expect(kind(value) == Kind::text, "a text");
    return values_[value].text;
  }
  /// The items of a tuple.
  const std::vector<Ref>& tuple(Ref value, const char* expected) const {
    expect(kind(value) == Kind::tuple, expected);
    return values_[value].items;
  }

  void push_tuple(std::vector<Ref> items) { push(Kind::tuple, 0, {}, std::move(items)); }
  void push_long(std::span<const std::byte> digits) {
    if (digits.size() > 8) {  // such as the magic number of old files: no tensor needs its value
      push(Kind::real, 0, {reinterpret_cast<const char*>(digits.data()), digits.size()});
      return;
    }
    const bool negative = !digits.empty() && (static_cast<std::uint8_t>(digits.back()) & 0x80) != 0;
    std::uint64_t value = negative ? ~std::uint64_t{0} : 0;
    for (std::size_t i = digits.size(); i-- > 0;) value = (value << 8) | static_cast<std::uint64_t>(digits[i]);
    push(Kind::integer, static_cast<std::int64_t>(value));
  }
  void append(const std::vector<Ref>& items) {
    PickleValue& list = top();
    expect(list.kind == Kind::list, "a list");
    list.items.insert(list.items.end(), items.begin(), items.end());
  }
  void set_items(const std::vector<Ref>& items) {
    PickleValue& dict = top();
    expect(dict.kind == Kind::dict || dict.kind == Kind::ordered_dict, "a dict");
    expect(items.size() % 2 == 0, "as many keys as values");
    dict.items.insert(dict.items.end(), items.begin(), items.end());
  }
  void remember(std::uint64_t key) {
    check_room(memo_.size());
    expect(stack_.size() > floor(), "more values on the stack");
    memo_[key] = stack_.back();
  }
  void recall(std::uint64_t key) {
    const auto found = memo_.find(key);
    expect(found != memo_.end(), "a value remembered before");
    check_room(stack_.size());
    stack_.push_back(found->second);
  }

  void push_global(std::string_view module, std::string_view name) {
    expect(module.size() + name.size() <= longest_name, "a name of at most 4096 bytes");
    const std::string_view known[] = {ordered_dict, rebuild_tensor, rebuild_parameter};
    const std::string full = std::string(module) + ' ' + std::string(name);
    const auto function = [&](const auto& list) {
      const auto found = std::find(std::begin(list), std::end(list), full);
      if (found == std::end(list)) return false;
      push(Kind::function, 0, *found);
      return true;
    };
    if (function(known) || function(list_builders)) return;
    if ((module == "torch" || module == "torch.cuda") && contains(storage_types, name))
      push(Kind::storage_type, 0, name);
    else if (module == "__torch__" || module.starts_with("__torch__."))
      push(Kind::record_type, 0, name);
    else
      refuse(full);
  }

  /// A persistent id is ("storage", type, key, location, elements), in old files with a view of it that must be None.
  void push_storage(Ref id) {
    const std::vector<Ref> parts = tuple(id, "a tuple as persistent id");
    expect(parts.size() == 5 || (parts.size() == 6 && kind(parts[5]) == Kind::none), "five parts in a persistent id");
    if (text(parts[0]) != storage_tag) refuse(text(parts[0]));
    expect(kind(parts[1]) == Kind::storage_type, "the type of a storage");
    expect(text(parts[2]).size() <= longest_storage_key, "a storage's key of at most 255 bytes");
    expect(kind(parts[4]) == Kind::integer && values_[parts[4]].integer >= 0, "a number of elements");
    push(Kind::storage, 0, {}, {parts[1], parts[2], parts[4]});
  }

  void call(const std::vector<Ref>& function_and_arguments) {
    const PickleValue& function = values_[function_and_arguments[0]];
    if (function.kind == Kind::storage_type || function.kind == Kind::record_type) refuse(function.text);
    expect(function.kind == Kind::function, "a function");
    const std::string_view name = function.text;
    const std::vector<Ref> arguments = tuple(function_and_arguments[1], "a tuple of arguments");
    if (name == ordered_dict) {
      expect(arguments.empty(), "no arguments of OrderedDict");
      push(Kind::ordered_dict);
    } else if (name == rebuild_tensor) {
      call_rebuild_tensor(arguments);
    } else if (name == rebuild_parameter) {
      expect(arguments.size() == 3 && kind(arguments[0]) == Kind::tensor, "a tensor, a flag and hooks of a parameter");
      stack_.push_back(arguments[0]);
    } else {  // a list of TorchScript
      expect(arguments.size() == 1 && kind(arguments[0]) == Kind::list, "a list");
      stack_.push_back(arguments[0]);
    }
  }

  /// (storage, offset, shape, strides, requires_grad, backward_hooks[, metadata])
  void call_rebuild_tensor(const std::vector<Ref>& arguments) {
    expect(arguments.size() == 6 || arguments.size() == 7, "six or seven arguments of _rebuild_tensor_v2");
    expect(kind(arguments[0]) == Kind::storage && kind(arguments[1]) == Kind::integer, "a storage and an offset");
    for (const Ref numbers : {arguments[2], arguments[3]}) {
      expect(tuple(numbers, "a tuple of extents").size() <= Shape::max_rank, "at most 8 extents");
      for (const Ref number : values_[numbers].items) expect(kind(number) == Kind::integer, "integers as extents");
    }
    push(Kind::tensor, 0, {}, {arguments.begin(), arguments.begin() + 4});
  }

  void make_record(const std::vector<Ref>& type_and_arguments) {
    const PickleValue& type = values_[type_and_arguments[0]];
    if (type.kind == Kind::function || type.kind == Kind::storage_type) refuse(type.text);
    expect(type.kind == Kind::record_type, "a class of TorchScript");
    expect(tuple(type_and_arguments[1], "a tuple of arguments").empty(), "no arguments");
    push(Kind::record);
  }

  void build(const std::vector<Ref>& object_and_state) {
    const auto [object, state] = std::pair(object_and_state[0], object_and_state[1]);
    const PickleValue& values = values_[state];
    if (kind(object) == Kind::record) {
      expect(values.kind == Kind::dict && values_[object].items.empty(), "a dict as the one state of a record");
      values_[object].items = {state};
    } else {
      const bool metadata = kind(object) == Kind::ordered_dict && values.kind == Kind::dict &&
                            values.items.size() == 2 && kind(values.items[0]) == Kind::text &&
                            values_[values.items[0]].text == "_metadata" &&
                            (kind(values.items[1]) == Kind::dict || kind(values.items[1]) == Kind::ordered_dict);
      expect(metadata, "a class of TorchScript, or an OrderedDict and its _metadata");
    }
    stack_.push_back(object);
  }

  ByteReader& bytes_;
  std::uint8_t opcode_ = 0;
  std::vector<PickleValue> values_;
  std::vector<Ref> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint64_t, Ref> memo_;
};

}  // namespace

Pickle read_pickle(ByteReader& bytes) { return Machine(bytes).run(); }

}  // namespace clip
