#include "clusterd/config/domain_file.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <pugixml.hpp>
#include <string_view>

#include "clusterd/base/text.h"
#include "clusterd/model/limits.h"

namespace clusterd {
namespace {

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return text;
}

std::optional<std::uint64_t> whole_number(const std::string& text) {
  std::uint64_t value = 0;
  const char* last = text.data() + text.size();
  const auto [end, problem] = std::from_chars(text.data(), last, value);
  if (problem != std::errc() || end != last) return std::nullopt;
  return value;
}

// Bytes of one unit; source: https://libvirt.org/formatdomain.html, "Memory Allocation".
std::optional<std::uint64_t> unit_bytes(const std::string& unit) {
  static const std::map<std::string, std::uint64_t> kUnits{{"", 1ULL << 10},
                                                           {"b", 1},
                                                           {"bytes", 1},
                                                           {"KB", 1000},
                                                           {"k", 1ULL << 10},
                                                           {"KiB", 1ULL << 10},
                                                           {"MB", 1'000'000},
                                                           {"M", 1ULL << 20},
                                                           {"MiB", 1ULL << 20},
                                                           {"GB", 1'000'000'000},
                                                           {"G", 1ULL << 30},
                                                           {"GiB", 1ULL << 30},
                                                           {"TB", 1'000'000'000'000},
                                                           {"T", 1ULL << 40},
                                                           {"TiB", 1ULL << 40}};
  const auto known = kUnits.find(unit);
  if (known == kUnits.end()) return std::nullopt;
  return known->second;
}

bool is_mac(const std::string& text) {
  if (text.size() != 17) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
    if (i % 3 == 2 ? c != ':' : !hex) return false;
  }
  return true;
}

class DomainReader {
 public:
  DomainReader(const std::string& file, const std::string& xml, ConfigErrors& errors)
      : file_(file), xml_(xml), errors_(errors) {}

  std::optional<DomainFacts> read(const std::string& vm) {
    const std::size_t before = errors_.size();
    const auto parsed =
        document_.load_buffer(xml_.data(), xml_.size(), pugi::parse_default, pugi::encoding_utf8);
    if (!parsed) {
      errors_.push_back({place_of(file_, xml_, static_cast<std::size_t>(parsed.offset)),
                         std::string("is no XML: ") + parsed.description()});
      return std::nullopt;
    }
    const auto root = document_.document_element();
    if (std::string_view(root.name()) != "domain") {
      fail(root, "<" + tidy_text(root.name(), 40) + "> is no libvirt domain: <domain> is needed");
      return std::nullopt;
    }
    identity(root, vm);
    size(root);
    facts_.virt_type = tidy_text(root.attribute("type").value(), limits::kName);
    machine(root);
    cpu(root.child("cpu"));
    devices(root.child("devices"));
    facts_.xml = digest_of(xml_);
    if (errors_.size() != before) return std::nullopt;
    return std::move(facts_);
  }

 private:
  void fail(const pugi::xml_node& node, const std::string& message) {
    const auto offset = node.offset_debug();
    errors_.push_back(
        {place_of(file_, xml_, offset < 0 ? 0 : static_cast<std::size_t>(offset)), message});
  }

  void identity(const pugi::xml_node& root, const std::string& vm) {
    if (!root.attribute("type")) fail(root, "<domain> has no type (kvm, qemu)");
    const auto uuid = root.child("uuid");
    const auto id = Uuid::parse(trimmed(uuid.text().get()));
    if (!uuid) {
      fail(root,
           "the domain has no <uuid>: libvirt would make up another one at every start; "
           "`virsh dumpxml` shows it, `uuidgen` makes one");
    } else if (!id || id->is_nil()) {
      fail(uuid, "'" + tidy_text(uuid.text().get(), 60) + "' is no UUID");
    } else {
      facts_.uuid = VmId{*id};
    }
    const auto name = root.child("name");
    if (!name) {
      fail(root, "the domain has no <name>: " + vm + " is needed");
    } else if (trimmed(name.text().get()) != vm) {
      fail(name, "the domain's name is '" + tidy_text(name.text().get(), 60) +
                     "', but it is declared as '" + vm + "': both must be the same");
    }
  }

  void size(const pugi::xml_node& root) {
    const auto memory = root.child("memory");
    const auto bytes = unit_bytes(memory.attribute("unit").value());
    const auto amount = whole_number(trimmed(memory.text().get()));
    if (!memory) {
      fail(root, "the domain has no <memory>");
    } else if (!bytes) {
      fail(memory, "<memory> has an unknown unit '" +
                       tidy_text(memory.attribute("unit").value(), 40) + "'");
    } else if (!amount || *amount == 0 || *amount > limits::kMemory / *bytes) {
      fail(memory, "<memory> '" + tidy_text(memory.text().get(), 40) + "' is no size");
    } else {
      facts_.size.memory = *amount * *bytes;
    }
    const auto vcpu = root.child("vcpu");
    const auto count = vcpu ? whole_number(trimmed(vcpu.text().get())) : 1;
    if (!count || *count == 0 || *count > limits::kVcpus) {
      fail(vcpu, "<vcpu> '" + tidy_text(vcpu.text().get(), 40) + "' is no number of processors");
    } else {
      facts_.size.vcpus = static_cast<std::uint32_t>(*count);
    }
  }

  void machine(const pugi::xml_node& root) {
    const auto type = root.child("os").child("type");
    if (!type) fail(root, "the domain has no <os><type>");
    facts_.machine = tidy_text(type.attribute("machine").value(), limits::kName);
  }

  // Source: https://libvirt.org/formatdomain.html, "CPU model and topology"; the default of
  // `check` for a custom CPU is `none` under emulation and `partial` otherwise
  // (qemuDomainDefCPUPostParse of libvirt 9.0).
  void cpu(const pugi::xml_node& cpu) {
    static const std::map<std::string, CpuMode> kModes{
        {"custom", CpuMode::custom},
        {"host-model", CpuMode::host_model},
        {"host-passthrough", CpuMode::host_passthrough},
        {"maximum", CpuMode::maximum}};
    const std::string model = trimmed(cpu.child("model").text().get());
    const auto mode = cpu.attribute("mode");
    const auto known = kModes.find(mode.value());
    if (mode && known == kModes.end()) {
      fail(cpu, "<cpu> has an unknown mode '" + tidy_text(mode.value(), 40) + "'");
      return;
    }
    // Without a mode it is a custom one, if it names a model at all.
    if (mode) facts_.cpu.mode = known->second;
    if (!mode && !model.empty()) facts_.cpu.mode = CpuMode::custom;
    if (facts_.cpu.mode != CpuMode::custom) return;
    facts_.cpu.model = tidy_text(model, limits::kName);
    facts_.cpu.vendor = tidy_text(trimmed(cpu.child("vendor").text().get()), limits::kName);
    const std::string check = cpu.attribute("check").value();
    facts_.cpu.checked = check.empty() ? facts_.virt_type == "kvm" : check != "none";
    for (const auto& feature : cpu.children("feature")) {
      const std::string_view policy = feature.attribute("policy").value();
      if (policy == "disable" || policy == "optional") facts_.cpu.checked = false;
    }
  }

  void devices(const pugi::xml_node& devices) {
    for (const auto& interface : devices.children("interface")) {
      const auto mac = interface.child("mac");
      const std::string address = lower(trimmed(mac.attribute("address").value()));
      if (!mac) {
        fail(interface,
             "<interface> has no <mac address='...'/>: libvirt would make up another "
             "one at every start");
      } else if (!is_mac(address)) {
        fail(mac, "'" + tidy_text(address, 40) + "' is no MAC address");
      } else if (!facts_.macs.insert(address).second) {
        fail(mac, "the MAC address " + address + " stands here a second time");
      }
    }
    for (const auto& disk : devices.children("disk")) {
      const std::string source = disk_source(disk);
      if (source.empty() || disk.child("shareable") || disk.child("readonly")) continue;
      if (std::string_view(disk.attribute("device").value()) == "cdrom") continue;
      if (!facts_.disks.insert(tidy_text(source, limits::kText)).second) {
        fail(disk, "the disk " + tidy_text(source, 200) + " stands here a second time");
      }
    }
  }

  // What identifies a disk over all hosts; empty: it has no source.
  static std::string disk_source(const pugi::xml_node& disk) {
    const auto source = disk.child("source");
    const auto text = [&](const char* name) { return std::string(source.attribute(name).value()); };
    const std::string type = disk.attribute("type").value();
    if (type == "network") return text("protocol") + ":" + text("name");
    if (type == "volume") return "volume:" + text("pool") + "/" + text("volume");
    const std::string path = type == "block" ? text("dev") : text("file");
    return path.empty() ? path : std::filesystem::path(path).lexically_normal().string();
  }

  const std::string& file_;
  const std::string& xml_;
  ConfigErrors& errors_;
  pugi::xml_document document_;
  DomainFacts facts_;
};

}  // namespace

std::optional<DomainFacts> read_domain(const std::string& file, const std::string& xml,
                                       const std::string& vm, ConfigErrors& errors) {
  return DomainReader(file, xml, errors).read(vm);
}

}  // namespace clusterd
