#include "jinja/value.h"

#include "jinja/unicode.h"

namespace spnl::modelkit::jinja {

void fail(std::string message) { throw Failure{ErrorCode::kInvalid, std::move(message)}; }
void fail_limit(std::string message) { throw Failure{ErrorCode::kNoMemory, std::move(message)}; }

namespace {

constexpr size_t kLinearSearch = 12;

uint32_t deeper(uint32_t depth) {
  if (depth >= kMaxValueDepth) fail_limit("values are nested too deeply");
  return depth + 1;
}

uint32_t depth_of(const Value& v) { return v.object() ? v.object()->depth : 0; }

std::shared_ptr<List> make_items(std::vector<Value> items) {
  auto out = std::make_shared<List>();
  uint32_t depth = 0;
  for (const Value& v : items) depth = std::max(depth, depth_of(v));
  out->depth = deeper(depth);
  out->items = std::move(items);
  return out;
}

std::shared_ptr<Str> make_str(std::string text) {
  auto out = std::make_shared<Str>();
  out->ascii = is_ascii(text);
  out->text = std::move(text);
  return out;
}

}  // namespace

Value::Value(std::string v) : Value(Kind::kString, make_str(std::move(v))) {}
Value::Value(std::string_view v) : Value(Kind::kString, make_str(std::string(v))) {}

Value Value::list(std::vector<Value> items) {
  return Value(Kind::kList, make_items(std::move(items)));
}

Value Value::tuple(std::vector<Value> items) {
  return Value(Kind::kTuple, make_items(std::move(items)));
}

Value Value::markup(std::string text) {
  auto s = make_str(std::move(text));
  s->markup = true;
  return Value(Kind::kString, std::move(s));
}

Value Value::undefined(std::string message, bool unsafe) {
  auto u = std::make_shared<Undef>();
  u->message = std::move(message);
  u->unsafe = unsafe;
  return Value(Kind::kUndefined, std::move(u));
}

const std::string& Value::text() const { return as<Str>().text; }
const Str& Value::str() const { return as<Str>(); }
const std::vector<Value>& Value::items() const { return as<List>().items; }
const Dict& Value::dict() const { return as<Dict>(); }

double Value::to_double() const {
  if (kind_ == Kind::kFloat) return n_.d;
  if (kind_ == Kind::kBigInt) return std::strtod(as<BigInt>().digits.c_str(), nullptr);
  return static_cast<double>(n_.i);
}

size_t Dict::position(const Value& key) const {
  if (items.size() <= kLinearSearch) {
    for (size_t i = 0; i < items.size(); ++i) {
      if (equal(items[i].first, key)) return i;
    }
    return items.size();
  }
  auto it = index_.find(key);
  return it == index_.end() ? items.size() : it->second;
}

const Value* Dict::find(const Value& key) const {
  if (!hashable(key)) return nullptr;
  size_t at = position(key);
  return at == items.size() ? nullptr : &items[at].second;
}

const Value* Dict::find_text(std::string_view key) const {
  if (items.size() > kLinearSearch) return find(Value(key));
  for (const auto& [k, v] : items) {
    if (k.is_string() && k.text() == key) return &v;
  }
  return nullptr;
}

void Dict::set(const Value& key, Value value) {
  if (!hashable(key)) fail("unhashable type: '" + type_name(key) + "'");
  depth = std::max(depth, deeper(std::max(depth_of(key), depth_of(value))));
  size_t at = position(key);
  if (at < items.size()) {
    items[at].second = std::move(value);
    return;
  }
  items.emplace_back(key, std::move(value));
  if (items.size() == kLinearSearch + 1) {
    for (size_t i = 0; i < items.size(); ++i) index_.emplace(items[i].first, i);
  } else if (items.size() > kLinearSearch) {
    index_.emplace(key, at);
  }
}

int64_t Range::size() const {
  // Unsigned differences: start and stop may lie at opposite ends of the 64-bit range.
  if (step > 0 && start < stop) {
    uint64_t span = static_cast<uint64_t>(stop) - static_cast<uint64_t>(start);
    return static_cast<int64_t>((span - 1) / static_cast<uint64_t>(step) + 1);
  }
  if (step < 0 && start > stop) {
    uint64_t span = static_cast<uint64_t>(start) - static_cast<uint64_t>(stop);
    return static_cast<int64_t>((span - 1) / (0 - static_cast<uint64_t>(step)) + 1);
  }
  return 0;
}

Value make_dict(std::shared_ptr<Dict> dict) { return Value(Kind::kDict, std::move(dict)); }

Value make_function(std::string name, std::function<Value(Runtime&, Args&)> call) {
  auto f = std::make_shared<Function>();
  f->name = std::move(name);
  f->call = std::move(call);
  return Value(Kind::kFunction, std::move(f));
}

Value make_iterator(const Value& source, std::function<bool(Runtime&, Value&)> next,
                    std::string type_name) {
  auto it = std::make_shared<Iterator>();
  it->depth = deeper(depth_of(source));
  it->next = std::move(next);
  it->type_name = std::move(type_name);
  return Value(Kind::kIterator, std::move(it));
}

std::string type_name(const Value& v) {
  switch (v.kind()) {
    case Kind::kUndefined:
      return "Undefined";
    case Kind::kNone:
      return "NoneType";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
    case Kind::kBigInt:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kString:
      return v.str().markup ? "Markup" : "str";
    case Kind::kList:
      return "list";
    case Kind::kTuple:
      return "tuple";
    case Kind::kDict:
      return "dict";
    case Kind::kView: {
      auto what = v.as<View>().what;
      return what == View::kKeys     ? "dict_keys"
             : what == View::kValues ? "dict_values"
                                     : "dict_items";
    }
    case Kind::kRange:
      return "range";
    case Kind::kIterator:
      return v.as<Iterator>().type_name;
    case Kind::kNamespace:
      return "Namespace";
    case Kind::kFunction:
      return "builtin_function_or_method";
    case Kind::kMacro:
      return "Macro";
    case Kind::kLoop:
      return "LoopContext";
    case Kind::kCycler:
      return "Cycler";
    case Kind::kJoiner:
      return "Joiner";
  }
  return "object";
}

bool has_length(const Value& v) {
  switch (v.kind()) {
    case Kind::kUndefined:
    case Kind::kString:
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kDict:
    case Kind::kView:
    case Kind::kRange:
      return true;
    default:
      return false;
  }
}

int64_t length(const Value& v) {
  switch (v.kind()) {
    case Kind::kUndefined:
      return 0;
    case Kind::kString:
      return static_cast<int64_t>(char_count(v.str()));
    case Kind::kList:
    case Kind::kTuple:
      return static_cast<int64_t>(v.items().size());
    case Kind::kDict:
      return static_cast<int64_t>(v.dict().items.size());
    case Kind::kView:
      return length(v.as<View>().dict);
    case Kind::kRange:
      return v.as<Range>().size();
    default:
      fail("object of type '" + type_name(v) + "' has no len()");
  }
}

bool truthy(const Value& v) {
  switch (v.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInt:
      return v.as_int() != 0;
    case Kind::kFloat:
      return v.as_float() != 0;
    case Kind::kString:
      return !v.text().empty();
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kDict:
    case Kind::kView:
    case Kind::kRange:
      return length(v) != 0;
    default:
      return true;
  }
}

}  // namespace spnl::modelkit::jinja
