#pragma once
// The value model of the template language: what Python's None, bool, int, float, str, list, tuple,
// dict and the engine's own objects look like from a template. Containers never change after
// construction (the sandbox refuses every mutating method), so values are shared freely; only
// namespaces, cyclers, joiners and loops carry state, and they belong to one rendering.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "spnl/modelkit/error.h"

namespace spnl::modelkit::jinja {

enum class Kind : uint8_t {
  kUndefined,
  kNone,
  kBool,
  kInt,
  kBigInt,  ///< an integer of the input beyond 64 bits: may be printed and compared, not computed
            ///< with
  kFloat,
  kString,
  kList,
  kTuple,
  kDict,
  kView,  ///< dict.keys(), .values(), .items()
  kRange,
  kIterator,
  kNamespace,
  kFunction,
  kMacro,
  kLoop,
  kCycler,
  kJoiner,
};

/// Raised anywhere below render(); render() adds the template line and turns it into Error.
struct Failure {
  ErrorCode code;
  std::string message;
};
[[noreturn]] void fail(std::string message);  ///< the template or its input is at fault
[[noreturn]] void fail_limit(
    std::string message);  ///< a bound against hostile templates was reached

/// Containers may nest this deep; it bounds every recursion over values (printing, comparing,
/// freeing).
inline constexpr uint32_t kMaxValueDepth = 400;

struct Object {
  virtual ~Object() = default;
  uint32_t depth = 0;
};

class Value;
struct Str;
struct List;
struct Dict;

class Value {
 public:
  Value() : kind_(Kind::kNone) { n_.i = 0; }
  Value(bool v) : kind_(Kind::kBool) { n_.i = v; }
  Value(int v) : kind_(Kind::kInt) { n_.i = v; }
  Value(int64_t v) : kind_(Kind::kInt) { n_.i = v; }
  Value(double v) : kind_(Kind::kFloat) { n_.d = v; }
  Value(std::string v);
  Value(std::string_view v);
  Value(const char* v) : Value(std::string_view(v)) {}
  Value(Kind kind, std::shared_ptr<Object> object) : kind_(kind), object_(std::move(object)) {
    n_.i = 0;
  }

  static Value list(std::vector<Value> items);
  static Value tuple(std::vector<Value> items);
  static Value markup(std::string text);
  static Value undefined(std::string message, bool unsafe = false);

  Kind kind() const { return kind_; }
  bool is(Kind k) const { return kind_ == k; }
  bool is_undefined() const { return kind_ == Kind::kUndefined; }
  bool is_none() const { return kind_ == Kind::kNone; }
  bool is_string() const { return kind_ == Kind::kString; }
  bool is_sequence() const { return kind_ == Kind::kList || kind_ == Kind::kTuple; }
  bool is_int() const { return kind_ == Kind::kInt || kind_ == Kind::kBool; }  ///< as in Python
  bool is_number() const { return is_int() || kind_ == Kind::kFloat || kind_ == Kind::kBigInt; }

  int64_t as_int() const { return n_.i; }
  double as_float() const { return n_.d; }
  double to_double() const;  ///< any number
  const std::string& text() const;
  const Str& str() const;
  const std::vector<Value>& items() const;
  const Dict& dict() const;
  Object* object() const { return object_.get(); }
  const std::shared_ptr<Object>& shared() const { return object_; }
  template <class T>
  T& as() const {
    return static_cast<T&>(*object_);
  }

 private:
  Kind kind_;
  union {
    int64_t i;
    double d;
  } n_;
  std::shared_ptr<Object> object_;
};

struct Str : Object {
  std::string text;   ///< valid UTF-8
  bool ascii = true;  ///< then characters are bytes
  bool markup = false;
};

struct List : Object {  // also tuples
  std::vector<Value> items;
  bool group = false;  ///< a tuple made by groupby: has .grouper and .list
};

struct KeyLess {
  bool operator()(const Value& a, const Value& b) const;
};

/// Insertion ordered, keys unique under Python's equality (1 == 1.0 == True).
struct Dict : Object {
  std::vector<std::pair<Value, Value>> items;

  const Value* find(const Value& key) const;
  const Value* find_text(std::string_view key) const;
  void set(const Value& key, Value value);  ///< fails on an unhashable key
 private:
  size_t position(const Value& key) const;
  std::map<Value, size_t, KeyLess> index_;  ///< used once there are more than a few items
};

struct Undef : Object {
  std::string message;
  bool unsafe = false;
};
struct BigInt : Object {
  std::string digits;
};
struct Range : Object {
  int64_t start = 0, stop = 0, step = 1;
  int64_t size() const;
};
struct View : Object {
  Value dict;
  enum What { kKeys, kValues, kItems } what = kKeys;
};

class Runtime;

/// Arguments of a call after evaluation.
struct Args {
  std::vector<Value> pos;
  std::vector<std::pair<std::string, Value>> kw;
};

/// A one-pass generator, as Python's lazy filters return.
struct Iterator : Object {
  std::function<bool(Runtime&, Value&)> next;
  std::string type_name = "generator";
};
struct Namespace : Object {
  Dict attrs;
};
struct Function : Object {
  std::string name;
  std::function<Value(Runtime&, Args&)> call;
};
struct Cycler : Object {
  std::vector<Value> items;
  size_t pos = 0;
};
struct Joiner : Object {
  Value separator;
  bool used = false;
};

Value make_dict(std::shared_ptr<Dict> dict);
Value make_function(std::string name, std::function<Value(Runtime&, Args&)> call);
Value make_iterator(const Value& source, std::function<bool(Runtime&, Value&)> next,
                    std::string type_name = "generator");

std::string type_name(const Value& v);  ///< Python's name of the type
bool truthy(const Value& v);
bool equal(const Value& a, const Value& b);
bool less(const Value& a, const Value& b, const char* op = "<");  ///< fails between unordered types
bool hashable(const Value& v);
bool has_length(const Value& v);
int64_t length(const Value& v);  ///< fails where Python's len() does

}  // namespace spnl::modelkit::jinja
