// corosync-probe: joins the group through CorosyncGroup and prints what it hears, one JSON object
// a line, with the monotonic time in milliseconds. Each line on stdin is multicast; the line
// "leave" leaves, "burst N SIZE" sends N numbered messages as fast as they are taken, "nodelist"
// reads cmap. For real Corosync nodes; see tests/lab.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <string>

#include "clusterd/adapters/corosync/cmap_nodelist.h"
#include "clusterd/adapters/corosync/corosync_group.h"
#include "clusterd/adapters/qb/main_loop.h"

namespace clusterd {
namespace {

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out + "\"";
}

void print(const std::string& event, const std::string& rest) {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  const auto us = std::chrono::duration_cast<std::chrono::microseconds>(now).count();
  std::printf("{\"ms\":%.3f,\"event\":\"%s\"%s%s}\n", static_cast<double>(us) / 1000.0,
              event.c_str(), rest.empty() ? "" : ",", rest.c_str());
  std::fflush(stdout);
}

std::string shown(const QuorumFacts& facts) {
  std::string votes;
  for (const auto& [node, count] : facts.votes) {
    votes += (votes.empty() ? "" : ",") + quoted(facts.names.at(node)) + ":" +
             std::to_string(count);
  }
  return std::string("\"quorate\":") + (facts.quorate ? "true" : "false") + ",\"votes\":{" +
         votes + "},\"device_votes\":" + std::to_string(facts.device_votes) +
         ",\"wait_for_all\":" + (facts.wait_for_all ? "true" : "false");
}

class Probe final : public GroupListener {
 public:
  explicit Probe(MainLoop& loop) : loop_(loop), group_(loop, *this) {}

  void on_view(const ViewChanged& view) override {
    std::string members;
    for (const auto& member : view.members) {
      members += (members.empty() ? "[" : ",[") + std::to_string(member.node.value) + "," +
                 std::to_string(member.process) + "]";
    }
    std::string ring;
    for (const NodeId node : view.ring) {
      ring += (ring.empty() ? "" : ",") + std::to_string(node.value);
    }
    print("view", "\"members\":[" + members + "],\"ring\":[" + ring + "]," + shown(view.quorum));
  }
  void on_quorum(const QuorumChanged& quorum) override { print("quorum", shown(quorum.quorum)); }
  void on_silent(const std::set<NodeId>& hosts) override {
    std::string list;
    for (const NodeId node : hosts) list += (list.empty() ? "" : ",") + std::to_string(node.value);
    print("silent", "\"hosts\":[" + list + "]");
  }
  void on_message(GroupMember sender, std::string_view bytes) override {
    print("message", "\"from\":" + std::to_string(sender.node.value) + ",\"size\":" +
                         std::to_string(bytes.size()) + ",\"text\":" +
                         quoted(bytes.substr(0, 60)));
  }
  void on_lost(const std::string& reason) override {
    print("lost", "\"reason\":" + quoted(reason));
    if (group_.left()) loop_.stop();
  }
  void on_writable() override {
    print("writable", "");
    pump();
  }

  // Not blocking, as everything on the loop.
  void read_stdin(FdEvent event) {
    char buffer[4096];
    const ssize_t got = ::read(STDIN_FILENO, buffer, sizeof buffer);
    if (got == 0 || (got < 0 && event == FdEvent::hung_up)) loop_.remove_fd(STDIN_FILENO);
    if (got <= 0) return;
    input_.append(buffer, static_cast<std::size_t>(got));
    for (std::size_t end = 0; (end = input_.find('\n')) != std::string::npos;) {
      obey(input_.substr(0, end));
      input_.erase(0, end + 1);
    }
  }

 private:
  void obey(const std::string& line) {
    if (line == "leave") return group_.leave();
    if (line.rfind("burst ", 0) == 0) {
      if (std::sscanf(line.c_str(), "burst %d %zu", &burst_, &size_) != 2) return;
      next_ = 0;
      return pump();
    }
    if (line == "nodelist") {
      const auto list = read_nodelist();
      if (!list) return print("nodelist", "\"problem\":" + quoted(list.error().message));
      std::string text = "\"self\":" + std::to_string(list.value().self.value);
      for (const auto& [id, node] : list.value().nodes) {
        text += "," + quoted(node.name) + ":[" + std::to_string(id.value) + "," +
                std::to_string(node.votes) + "]";
      }
      return print("nodelist", text);
    }
    if (group_.multicast(line) != SendStatus::queued) {
      print("not-sent", quoted("text") + ":" + quoted(line));
    }
  }
  void pump() {
    for (; next_ < burst_; ++next_) {
      std::string text = "burst " + std::to_string(next_) + " ";
      text.resize(std::max(text.size(), size_), '.');
      const SendStatus status = group_.multicast(text);
      if (status == SendStatus::try_again) return;  // on_writable goes on
      if (status == SendStatus::failed) {
        print("burst-failed", "\"at\":" + std::to_string(next_));
        next_ = burst_;
        return;
      }
    }
  }

  MainLoop& loop_;
  std::string input_;
  int burst_ = 0;
  int next_ = 0;
  std::size_t size_ = 0;
  CorosyncGroup group_;
};

int run() {
  auto loop = MainLoop::create();
  if (!loop) {
    std::fprintf(stderr, "%s\n", loop.error().message.c_str());
    return 1;
  }
  MainLoop& main_loop = *loop.value();
  Probe probe(main_loop);
  fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
  const Status input = main_loop.add_fd(STDIN_FILENO, [&](FdEvent e) { probe.read_stdin(e); });
  const Status term = main_loop.on_signal(SIGTERM, [&] { main_loop.stop(); });
  if (!input || !term) return 1;
  main_loop.run();
  return 0;
}

}  // namespace
}  // namespace clusterd

int main() { return clusterd::run(); }
