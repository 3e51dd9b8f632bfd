#include "clusterd/adapters/metrics/families.h"

namespace clusterd {
namespace {

constexpr std::size_t kMaxLabel = 256;

// Length of the well-formed UTF-8 character that `text` begins with; 0: there is none.
std::size_t character_length(std::string_view text) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = at(0);
  if (lead < 0x80) return lead >= 0x20 && lead != 0x7f ? 1 : 0;
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((at(i) & 0xc0) != 0x80) return 0;
  }
  // Overlong forms, surrogates, and what lies above U+10FFFF.
  if (lead == 0xe0 && at(1) < 0xa0) return 0;
  if (lead == 0xed && at(1) > 0x9f) return 0;
  if (lead == 0xf0 && at(1) < 0x90) return 0;
  if (lead == 0xf4 && at(1) > 0x8f) return 0;
  return length;
}

}  // namespace

std::string label_value(std::string_view text) {
  std::string value;
  while (!text.empty() && value.size() + 4 <= kMaxLabel) {
    const std::size_t length = character_length(text);
    if (length == 0) {
      value += '?';
    } else {
      value.append(text.substr(0, length));
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return value;
}

prometheus::MetricFamily family(const char* name, const char* help, prometheus::MetricType type) {
  prometheus::MetricFamily family;
  family.name = name;
  family.help = help;
  family.type = type;
  return family;
}

prometheus::ClientMetric& add_series(prometheus::MetricFamily& family, LabelList labels) {
  prometheus::ClientMetric& metric = family.metric.emplace_back();
  metric.label.reserve(labels.size());
  for (const auto& [name, value] : labels) metric.label.push_back({name, label_value(value)});
  return metric;
}

void add_gauge(prometheus::MetricFamily& family, LabelList labels, double value) {
  add_series(family, labels).gauge.value = value;
}

prometheus::MetricFamily single_gauge(const char* name, const char* help, double value) {
  prometheus::MetricFamily result = family(name, help, prometheus::MetricType::Gauge);
  add_gauge(result, {}, value);
  return result;
}

}  // namespace clusterd
