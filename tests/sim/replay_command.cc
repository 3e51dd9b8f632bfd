#include "tests/sim/replay_command.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace clusterd::sim {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  if (!in) throw std::runtime_error(path + " cannot be read");
  return bytes;
}

}  // namespace

std::vector<RecordedFile> read_recording(const std::string& path) {
  namespace fs = std::filesystem;
  std::vector<std::string> paths;
  if (fs::is_directory(path)) {
    for (const auto& entry : fs::directory_iterator(path)) {
      if (entry.path().extension() == ".rec") paths.push_back(entry.path().string());
    }
    if (paths.empty()) throw std::runtime_error(path + " has no *.rec");
    std::sort(paths.begin(), paths.end());
  } else {
    paths.push_back(path);
  }
  std::vector<RecordedFile> files;
  for (const std::string& one : paths) files.push_back({one, read_file(one)});
  return files;
}

void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream out(path, std::ios::binary);
  out << bytes;
  out.close();
  if (!out) throw std::runtime_error(path + " cannot be written");
}

void ReplayCommand::add_to(CLI::App& app) {
  app.add_option("--replay", path_,
                 "replay a recording (FILE, or FOLDER with *.rec) and explain its decisions");
  app.add_option("--from", options_.from, "with --replay: the first step told")
      ->capture_default_str();
  app.add_option("--to", options_.to, "with --replay: the last step told");
  app.add_flag("--every-step", options_.every_step,
               "with --replay: also steps that decide nothing");
  app.add_option("--cut", cut_,
                 "with --replay: write the steps told into this file, as one segment");
  app.add_flag("--check-replay", check_, "record every daemon, replay it, compare");
  app.add_option("--record", folder_, "write the recordings of each seed into this folder");
}

int ReplayCommand::run() const {
  ReplayOptions options = options_;
  options.cut = !cut_.empty();
  options.say = [](const std::string& line) {
    std::printf("%s\n", line.c_str());
    std::fflush(stdout);  // the next step may end the process
  };
  try {
    const Replayed done = replay(read_recording(path_), options);
    for (const std::string& warning : done.warnings) std::printf("warning: %s\n", warning.c_str());
    for (const std::string& text : done.differences) std::printf("differs: %s\n", text.c_str());
    if (!done.problem.empty()) throw std::runtime_error(done.problem);
    std::printf("%llu steps replayed: %s\n", static_cast<unsigned long long>(done.steps),
                done.equal() ? "bit for bit equal" : "NOT EQUAL");
    if (options.cut) write_file(cut_, done.cut);
    return done.equal() ? 0 : kDiffers;
  } catch (const std::exception& error) {
    std::printf("%s\n", error.what());
    return kUnreadable;
  }
}

void ReplayCommand::take(std::uint64_t seed, RunResult& result) {
  for (const auto& [node, segments] : result.recordings) {
    std::vector<RecordedFile> files;
    for (const std::string& bytes : segments) {
      files.push_back({node + "/" + std::to_string(files.size() + 1), bytes});
      bytes_ += bytes.size();
    }
    segments_ += files.size();
    if (!folder_.empty()) {
      const std::string folder = folder_ + "/" + std::to_string(seed) + "/" + node;
      std::filesystem::create_directories(folder);
      for (std::size_t i = 0; i < segments.size(); ++i) {
        char name[32];
        std::snprintf(name, sizeof name, "/%08zu.rec", i + 1);
        write_file(folder + name, segments[i]);
      }
    }
    if (!check_) continue;
    const Replayed done = replay(files, {});
    steps_ += done.steps;
    std::string problem = done.problem;
    if (!done.differences.empty()) problem = done.differences.front();
    if (!done.warnings.empty()) problem = done.warnings.front();
    if (problem.empty() || result.violation) continue;
    result.violation = Violation{"replay", problem};
  }
}

std::string ReplayCommand::summary() const {
  if (!records()) return {};
  return std::to_string(segments_) + " segments recorded, " + std::to_string(bytes_) + " bytes, " +
         std::to_string(steps_) + " steps replayed\n";
}

}  // namespace clusterd::sim
