# SPDX-License-Identifier: Apache-2.0
# The functions that executors are tested with.
add_library(praas_test_functions MODULE conformance/executor/functions.c conformance/executor/script.c)
praas_target(praas_test_functions)
set_source_files_properties(conformance/executor/functions.c conformance/executor/script.c PROPERTIES
  COMPILE_OPTIONS -Wno-missing-prototypes)
set_target_properties(praas_test_functions PROPERTIES PREFIX ""
  LIBRARY_OUTPUT_DIRECTORY ${PRAAS_TEST_BIN})

praas_unit_test(inline praas_dataplane)
target_include_directories(test_inline PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
target_compile_definitions(test_inline PRIVATE
  PRAAS_TEST_FUNCTIONS="$<TARGET_FILE:praas_test_functions>")
add_dependencies(test_inline praas_test_functions)
praas_unit_test(trigger_model praas_dataplane)
praas_unit_test(mailbox praas_dataplane)
praas_unit_test(mail praas_dataplane)
target_include_directories(test_mail PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
praas_unit_test(outbox praas_dataplane)
target_include_directories(test_outbox PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
praas_unit_test(dedup praas_dataplane)
praas_unit_test(invocations praas_dataplane)
praas_unit_test(sender praas_dataplane)
praas_unit_test(state praas_dataplane PkgConfig::XXHASH Threads::Threads)
target_include_directories(test_state PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
set_tests_properties(unit.state PROPERTIES LABELS tsan)
praas_unit_test(lease praas_dataplane PkgConfig::XXHASH)
target_include_directories(test_lease PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
praas_unit_test(lease_kept praas_dataplane PkgConfig::XXHASH)
target_include_directories(test_lease_kept PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
praas_unit_test(lease_worker praas_dataplane PkgConfig::XXHASH)
target_include_directories(test_lease_worker PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})

# What every executor must do; run.c has one line for each.
add_executable(executor_conformance conformance/executor/run.c conformance/executor/suite.c)
praas_target(executor_conformance)
target_link_libraries(executor_conformance PRIVATE PkgConfig::CMOCKA praas_dataplane)
target_include_directories(executor_conformance PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
target_compile_definitions(executor_conformance PRIVATE
  PRAAS_TEST_FUNCTIONS="$<TARGET_FILE:praas_test_functions>")
add_dependencies(executor_conformance praas_test_functions)
set_target_properties(executor_conformance PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PRAAS_TEST_BIN})
add_test(NAME conformance.executor.inline COMMAND executor_conformance inline)
set_tests_properties(conformance.executor.inline PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120)

praas_unit_test(process praas_dataplane)
praas_unit_test(park praas_dataplane)
target_include_directories(test_park PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
praas_unit_test(process_hostile praas_dataplane)
target_include_directories(test_process_hostile PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
praas_unit_test(held praas_dataplane)
target_include_directories(test_held PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
target_include_directories(test_process PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
