#include "clusterd/adapters/corosync/corosync_settings.h"

#include <corosync/cmap.h>
#include <corosync/votequorum.h>

#include <algorithm>
#include <cstdio>
#include <map>

#include "clusterd/adapters/corosync/cmap_nodelist.h"

namespace clusterd {
namespace {

class Cmap {
 public:
  Cmap() { code_ = cmap_initialize(&handle_); }
  ~Cmap() {
    if (code_ == CS_OK) cmap_finalize(handle_);
  }
  Cmap(const Cmap&) = delete;
  Cmap& operator=(const Cmap&) = delete;

  [[nodiscard]] cs_error_t code() const { return code_; }
  [[nodiscard]] cmap_handle_t get() const { return handle_; }

 private:
  cmap_handle_t handle_ = 0;
  cs_error_t code_;
};

// Of the node that has the fewest; a link is a key nodelist.node.K.ringN_addr.
std::size_t fewest_links(cmap_handle_t cmap) {
  std::map<unsigned, std::size_t> links;
  cmap_iter_handle_t iterator{};
  if (cmap_iter_init(cmap, "nodelist.node.", &iterator) != CS_OK) return 0;
  char key[CMAP_KEYNAME_MAXLEN + 1] = {};
  while (cmap_iter_next(cmap, iterator, key, nullptr, nullptr) == CS_OK) {
    unsigned node = 0;
    unsigned link = 0;
    int end = 0;
    const int read = std::sscanf(key, "nodelist.node.%u.ring%u_addr%n", &node, &link, &end);
    if (read >= 1) links[node] += end > 0 ? 1 : 0;
  }
  cmap_iter_finalize(cmap, iterator);
  const auto less = [](const auto& a, const auto& b) { return a.second < b.second; };
  const auto fewest = std::min_element(links.begin(), links.end(), less);
  return fewest == links.end() ? 0 : fewest->second;
}

// A key that stands nowhere has Corosync's default: nothing is authenticated.
bool is_set(const std::string& algorithm) { return !algorithm.empty() && algorithm != "none"; }

Status read_quorum(NodeId self, CorosyncSettings& settings) {
  votequorum_handle_t quorum{};
  cs_error_t rc = votequorum_initialize(&quorum, nullptr);
  if (rc != CS_OK) return corosync_error("libvotequorum: cannot connect", rc);
  votequorum_info info{};
  rc = votequorum_getinfo(quorum, self.value, &info);
  votequorum_finalize(quorum);
  if (rc != CS_OK) return corosync_error("libvotequorum: this node's flags", rc);
  settings.two_node = (info.flags & VOTEQUORUM_INFO_TWONODE) != 0;
  settings.wait_for_all = (info.flags & VOTEQUORUM_INFO_WAIT_FOR_ALL) != 0;
  settings.last_man_standing = (info.flags & VOTEQUORUM_INFO_LAST_MAN_STANDING) != 0;
  settings.auto_tie_breaker = (info.flags & VOTEQUORUM_INFO_AUTO_TIE_BREAKER) != 0;
  settings.arbiter = (info.flags & VOTEQUORUM_INFO_QDEVICE_REGISTERED) != 0;
  return ok_status();
}

std::string seconds(Duration span) {
  const auto tenths = (span.count() + 50) / 100;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " s";
}

class Judge {
 public:
  explicit Judge(const CorosyncSettings& settings) : s_(settings) {}

  std::vector<SettingFinding> run() {
    judge_quorum();
    judge_links();
    judge_time();
    return std::move(findings_);
  }

 private:
  void say(Gravity gravity, std::string text) { findings_.push_back({gravity, std::move(text)}); }

  void judge_quorum() {
    const std::string unsafe =
        " counts hosts out that are only silent, and knows nothing of fencing: two sides may then "
        "act at once. Remove it from the section `quorum`; an arbiter (corosync-qdevice) does what "
        "it is wanted for";
    if (s_.last_man_standing) say(Gravity::refused, "last_man_standing" + unsafe);
    if (s_.auto_tie_breaker) say(Gravity::refused, "auto_tie_breaker" + unsafe);
    if (s_.two_node && s_.nodes != 2) {
      say(Gravity::refused, "two_node is on with " + std::to_string(s_.nodes) +
                                " nodes: remove it from the section `quorum`");
    }
    if (s_.nodes == 2 && !s_.two_node && !s_.arbiter) {
      say(Gravity::weak,
          "two nodes without two_node and without an arbiter: if one dies the other one has no "
          "majority and recovers nothing. Set two_node: 1, or add an arbiter");
    } else if (s_.nodes > 2 && s_.nodes % 2 == 0 && !s_.arbiter) {
      say(Gravity::weak,
          std::to_string(s_.nodes) +
              " nodes without an arbiter: of two halves none has a majority, so both do nothing. "
              "Add corosync-qdevice on a machine elsewhere");
    } else {
      say(Gravity::good, "a majority survives the loss of any one host");
    }
    if (s_.two_node && !s_.wait_for_all) {
      say(Gravity::weak,
          "two_node without wait_for_all: two hosts that boot apart both believe that the other "
          "one is dead, and fence it. Remove `wait_for_all: 0`");
    }
  }

  void judge_links() {
    if (s_.transport != "knet") {
      say(Gravity::weak, "transport " + s_.transport + " has one link and no encryption: use knet");
    } else if (s_.links < 2) {
      say(Gravity::weak,
          "one link only: a switch that reboots takes the cluster apart. Give every node a "
          "ring1_addr in a network that shares no switch with the first");
    } else {
      say(Gravity::good, std::to_string(s_.links) + " links between any two nodes");
    }
    if (s_.authenticated) {
      say(Gravity::good, "members authenticate each other");
    } else {
      say(Gravity::weak,
          "members do not authenticate each other: whoever reaches the network may order starts "
          "and fences. Set crypto_cipher and crypto_hash, run corosync-keygen");
    }
  }

  void judge_time() {
    const Duration lost = s_.token + s_.consensus;
    const std::string told = "a host that falls silent is out of the ring after " +
                             seconds(lost) + " (token " + seconds(s_.token) + ", consensus " +
                             seconds(s_.consensus) + ")";
    if (s_.token < Duration(1000)) {
      say(Gravity::weak, told + ": a busy host is lost for nothing. A token of 1 s at least");
    } else if (lost > Duration(30000)) {
      say(Gravity::weak, told + ": its VMs are down for that long at least. A smaller token, or "
                                "a smaller token_coefficient");
    } else {
      say(Gravity::good, told);
    }
  }

  const CorosyncSettings& s_;
  std::vector<SettingFinding> findings_;
};

}  // namespace

Result<CorosyncSettings> read_corosync_settings() {
  const Cmap cmap;
  if (cmap.code() != CS_OK) {
    return corosync_error("libcmap: cannot connect to Corosync", cmap.code());
  }
  const auto list = read_nodelist(cmap.get());
  if (!list) return list.error();
  CorosyncSettings settings;
  settings.nodes = list.value().nodes.size();
  settings.links = fewest_links(cmap.get());
  const auto text = [&](const char* key) { return string_at(cmap.get(), key); };
  const auto span = [&](const char* key) { return Duration(number_at(cmap.get(), key, 0)); };
  if (const std::string transport = text("totem.transport"); !transport.empty()) {
    settings.transport = transport;
  }
  settings.authenticated = is_set(text("totem.crypto_hash")) ||
                           is_set(text("totem.crypto_cipher")) || text("totem.secauth") == "on";
  settings.token = span("runtime.config.totem.token");
  settings.consensus = span("runtime.config.totem.consensus");
  if (const Status read = read_quorum(list.value().self, settings); !read) return read.error();
  return settings;
}

std::vector<SettingFinding> judge(const CorosyncSettings& settings) {
  return Judge(settings).run();
}

}  // namespace clusterd
