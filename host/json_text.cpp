#include "json_text.h"

#include <charconv>
#include <cmath>
#include <cstdio>

#include "utf8.h"

namespace spnl::host {

JsonText& JsonText::key(std::string_view name) {
  writer_.Key(name.data(), static_cast<rapidjson::SizeType>(name.size()));
  return *this;
}

JsonText& JsonText::text(std::string_view value) {
  std::string repaired;
  if (first_invalid_utf8(value) != std::string_view::npos)
    value = repaired = replace_invalid_utf8(value);
  writer_.String(value.data() == nullptr ? "" : value.data(),
                 static_cast<rapidjson::SizeType>(value.size()));
  return *this;
}

JsonText& JsonText::raw_number(const char* text, size_t length) {
  writer_.RawValue(text, length, rapidjson::kNumberType);
  return *this;
}

JsonText& JsonText::number(double value) {
  if (!std::isfinite(value)) return null();
  char text[40];
  return raw_number(text, static_cast<size_t>(std::snprintf(text, sizeof text, "%.9g", value)));
}

JsonText& JsonText::rounded(double value, int decimals) {
  if (!std::isfinite(value) || std::abs(value) > 1e15) return null();
  char text[40];
  return raw_number(text,
                    static_cast<size_t>(std::snprintf(text, sizeof text, "%.*f", decimals, value)));
}

JsonText& JsonText::optional_rounded(std::optional<double> value, int decimals) {
  return value ? rounded(*value, decimals) : null();
}

JsonText& JsonText::shortest(float value) {
  if (!std::isfinite(value)) return null();
  char text[40];
  auto [end, problem] = std::to_chars(text, text + sizeof text, value);
  return problem == std::errc() ? raw_number(text, static_cast<size_t>(end - text)) : null();
}

JsonText& JsonText::ids(const std::vector<int32_t>& values) {
  begin_array();
  for (int32_t id : values) integer(id);
  return end_array();
}

JsonText& JsonText::texts(const std::vector<std::string>& values) {
  begin_array();
  for (const std::string& value : values) text(value);
  return end_array();
}

}  // namespace spnl::host
