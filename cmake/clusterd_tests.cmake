# What ctest knows. Every source file of tests/unit and tests/property is one ctest entry
# (`unit.engine.placement`), run from one executable by Catch's file filter: good names, and no
# test discovery at build time. The filter knows a file's name, not its folder: of two files with
# the same name each entry runs both. Helpers of tests live in tests/support.

function(clusterd_test_entries kind)
  file(GLOB_RECURSE files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/${kind}/*.cc)
  foreach(file ${files})
    get_filename_component(stem ${file} NAME_WLE)
    file(RELATIVE_PATH name ${CMAKE_SOURCE_DIR}/tests/${kind} ${file})
    string(REGEX REPLACE "(_test)?\\.cc$" "" name ${name})
    string(REPLACE "/" "." name ${name})
    # A file without a test is a failure, not a silent success.
    add_test(NAME ${kind}.${name}
      COMMAND unit_tests --filenames-as-tags --warn NoTests "[#${stem}]")
    set_tests_properties(${kind}.${name} PROPERTIES LABELS ${kind} TIMEOUT 300
      ENVIRONMENT TSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/tsan.supp)
  endforeach()
endfunction()

function(clusterd_unit_tests)
  find_package(Catch2 2.13 REQUIRED)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS
    ${CMAKE_SOURCE_DIR}/tests/unit/*.cc
    ${CMAKE_SOURCE_DIR}/tests/property/*.cc
    ${CMAKE_SOURCE_DIR}/tests/support/*.cc)
  if(NOT sources)
    return()
  endif()
  add_executable(unit_tests ${sources})
  get_property(layers GLOBAL PROPERTY clusterd_layers)
  target_link_libraries(unit_tests PRIVATE
    clusterd_options ${layers} Catch2::Catch2WithMain nlohmann_json::nlohmann_json)
  target_compile_definitions(unit_tests PRIVATE CLUSTERD_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  target_precompile_headers(unit_tests PRIVATE <catch2/catch.hpp>)
  clusterd_test_entries(unit)
  clusterd_test_entries(property)
endfunction()

function(clusterd_sim_tests)
  if(NOT TARGET clusterd-sim)
    return()
  endif()
  add_test(NAME sim.seeds_sanitized COMMAND clusterd-sim --seed 1 --seeds 20 --check-replay)
  set_tests_properties(sim.seeds_sanitized PROPERTIES LABELS sim TIMEOUT 600)
  file(GLOB files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/scenario/cases/*.scn)
  foreach(file ${files})
    get_filename_component(name ${file} NAME_WLE)
    add_test(NAME scenario.${name} COMMAND scenario_tests ${file})
    set_tests_properties(scenario.${name} PROPERTIES LABELS scenario TIMEOUT 120)
  endforeach()
  file(GLOB files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/replay/cases/*.rec)
  foreach(file ${files})
    get_filename_component(name ${file} NAME_WLE)
    add_test(NAME replay.${name} COMMAND replay_tests ${file})
    set_tests_properties(replay.${name} PROPERTIES LABELS replay TIMEOUT 120)
  endforeach()
endfunction()

# Transcripts of commands that need no daemon.
function(clusterd_ctl_tests)
  if(NOT TARGET clusterctl)
    return()
  endif()
  add_test(NAME ctl.transcripts COMMAND ${CMAKE_SOURCE_DIR}/tests/ctl/transcripts.py
    ${CMAKE_RUNTIME_OUTPUT_DIRECTORY})
  set_tests_properties(ctl.transcripts PROPERTIES LABELS ctl TIMEOUT 300)
endfunction()

# How long things take, in the build that hosts run.
function(clusterd_speed_tests)
  add_test(NAME speed.plan COMMAND ${CMAKE_SOURCE_DIR}/tests/ctl/plan_speed.py
    ${CMAKE_RUNTIME_OUTPUT_DIRECTORY})
  set_tests_properties(speed.plan PROPERTIES LABELS speed TIMEOUT 300 RUN_SERIAL ON)
endfunction()

# In the build that is fast enough for it.
function(clusterd_seed_tests)
  add_test(NAME sim.seeds COMMAND clusterd-sim --seed 1 --seeds 300)
  set_tests_properties(sim.seeds PROPERTIES LABELS sim TIMEOUT 600)
endfunction()

function(clusterd_tidy_tests)
  foreach(name layers coverage)
    set(script ${CMAKE_SOURCE_DIR}/tests/tidy/${name}.py)
    add_test(NAME tidy.${name} COMMAND /usr/bin/python3 ${script}
      WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    add_test(NAME tidy.${name}_selftest COMMAND /usr/bin/python3 ${script} --selftest
      WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(tidy.${name} tidy.${name}_selftest PROPERTIES LABELS tidy TIMEOUT 120)
  endforeach()
endfunction()

# Every executable tests/lab/scenarios/*.py is a test; `# ctest: full` among its first ten lines
# keeps it for `tests/run --full`.
function(clusterd_lab_tests)
  file(GLOB files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/lab/scenarios/*.py)
  foreach(file ${files})
    execute_process(COMMAND test -x ${file} RESULT_VARIABLE not_executable)
    if(not_executable)
      continue()
    endif()
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file}) # for its label
    execute_process(COMMAND head -n 10 ${file} OUTPUT_VARIABLE top)
    set(label lab)
    if(top MATCHES "# ctest: full")
      set(label full)
    endif()
    get_filename_component(name ${file} NAME_WLE)
    add_test(NAME lab.${name} COMMAND ${file} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(lab.${name} PROPERTIES
      LABELS ${label} RUN_SERIAL ON TIMEOUT 420 SKIP_RETURN_CODE 77
      ENVIRONMENT "CLUSTERD_BIN_DIR=${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
  endforeach()
endfunction()

# Every tests/fuzz/NAME.cc is a libFuzzer target `fuzz_NAME`; `// runs: N` among its first ten lines
# is how many inputs ctest tries. Of most layers only the decoders are compiled: sanitized templates
# take their time.
function(clusterd_fuzz_tests)
  add_library(fuzz_support STATIC EXCLUDE_FROM_ALL
    tests/fuzz/support/entry.cc
    clusterd/codec/json_status.cc
    clusterd/codec/record.cc clusterd/codec/recording.cc clusterd/codec/snapshot.cc
    clusterd/codec/validate.cc clusterd/codec/wire.cc
    clusterd/runtime/reassembly.cc clusterd/runtime/tidy.cc
    clusterd/adapters/store/format.cc
    clusterd/adapters/qb/ipc_frames.cc
    clusterd/adapters/process/child_process.cc
    resource-agents/libvirt/domain_xml.cc resource-agents/libvirt/host_capabilities.cc
    resource-agents/probes/agent_words.cc
    fencing/agent/agent_call.cc fencing/agent/agent_process.cc fencing/agent/call_runner.cc
    fencing/agent/fence_test.cc fencing/agent/redact.cc fencing/agent/round.cc
    fencing/agent/wiped_text.cc)
  target_link_libraries(fuzz_support PUBLIC
    clusterd_options clusterd_config clusterd_model clusterd_base
    PkgConfig::libqb PkgConfig::pugixml yaml-cpp nlohmann_json::nlohmann_json)
  add_custom_target(fuzz_targets)
  file(GLOB files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/fuzz/*.cc)
  foreach(file ${files})
    get_filename_component(name ${file} NAME_WLE)
    add_executable(fuzz_${name} EXCLUDE_FROM_ALL ${file})
    target_link_libraries(fuzz_${name} PRIVATE fuzz_support)
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    add_dependencies(fuzz_targets fuzz_${name})
    file(STRINGS ${file} runs REGEX "^// runs: [0-9]+$" LIMIT_COUNT 1)
    string(REGEX REPLACE "[^0-9]" "" runs "${runs}")
    add_test(NAME fuzz.${name}
      COMMAND ${CMAKE_SOURCE_DIR}/tests/fuzz/run --build-dir ${CMAKE_BINARY_DIR}
              --runs ${runs} ${name})
    set_tests_properties(fuzz.${name} PROPERTIES LABELS fuzz TIMEOUT 120)
  endforeach()
  add_executable(fuzz_corpus EXCLUDE_FROM_ALL tests/fuzz/support/corpus/main.cc)
  target_link_libraries(fuzz_corpus PRIVATE fuzz_support)
endfunction()

if("unit" IN_LIST CLUSTERD_TESTS)
  clusterd_unit_tests()
endif()
if("sim" IN_LIST CLUSTERD_TESTS)
  clusterd_sim_tests()
endif()
if("ctl" IN_LIST CLUSTERD_TESTS)
  clusterd_ctl_tests()
endif()
if("speed" IN_LIST CLUSTERD_TESTS)
  clusterd_speed_tests()
endif()
if("seeds" IN_LIST CLUSTERD_TESTS)
  clusterd_seed_tests()
endif()
if("tidy" IN_LIST CLUSTERD_TESTS)
  clusterd_tidy_tests()
endif()
if("fuzz" IN_LIST CLUSTERD_TESTS)
  clusterd_fuzz_tests()
endif()
if("lab" IN_LIST CLUSTERD_TESTS)
  clusterd_lab_tests()
endif()
