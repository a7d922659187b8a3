# SPDX-License-Identifier: Apache-2.0
# The functions that executors are tested with.
add_library(praas_test_functions MODULE conformance/executor/functions.c)
praas_target(praas_test_functions)
target_compile_options(praas_test_functions PRIVATE -Wno-missing-prototypes)
set_target_properties(praas_test_functions PROPERTIES PREFIX ""
  LIBRARY_OUTPUT_DIRECTORY ${PRAAS_TEST_BIN})

praas_unit_test(inline praas_dataplane)
target_include_directories(test_inline PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
target_compile_definitions(test_inline PRIVATE
  PRAAS_TEST_FUNCTIONS="$<TARGET_FILE:praas_test_functions>")
add_dependencies(test_inline praas_test_functions)
praas_unit_test(mailbox praas_dataplane)
praas_unit_test(state praas_dataplane PkgConfig::XXHASH Threads::Threads)
target_include_directories(test_state PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
set_tests_properties(unit.state PROPERTIES LABELS tsan)
