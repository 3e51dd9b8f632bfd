// Families: turns values into prometheus-cpp's metric families.
#pragma once

#include <prometheus/metric_family.h>

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace clusterd {

using LabelList = std::initializer_list<std::pair<const char*, std::string_view>>;

[[nodiscard]] prometheus::MetricFamily family(const char* name, const char* help,
                                              prometheus::MetricType type);
// The metric that was added, with its labels and without a value.
prometheus::ClientMetric& add_series(prometheus::MetricFamily& family, LabelList labels);
void add_gauge(prometheus::MetricFamily& family, LabelList labels, double value);
[[nodiscard]] prometheus::MetricFamily single_gauge(const char* name, const char* help,
                                                    double value);

// Prometheus refuses a whole scrape that has one label which is no UTF-8.
[[nodiscard]] std::string label_value(std::string_view text);

}  // namespace clusterd
