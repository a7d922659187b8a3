# SPDX-License-Identifier: Apache-2.0
praas_unit_test(slot_log praas_store)
praas_unit_test(manifest praas_controller)
praas_unit_test(snapshot praas_controller)

# One suite for all stores: tests/conformance/store.c STORE.
add_executable(conformance_store conformance/store.c)
praas_target(conformance_store)
target_link_libraries(conformance_store PRIVATE PkgConfig::CMOCKA praas_store)
set_target_properties(conformance_store PROPERTIES
  RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
foreach(store file memory:)
  string(REPLACE ":" "" name ${store})
  add_test(NAME conformance.store.${name} COMMAND conformance_store ${store})
  set_tests_properties(conformance.store.${name} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120)
endforeach()

if(COMMAND praas_fuzz_target)
  praas_fuzz_target(manifest praas_controller)
  praas_fuzz_target(snapshot praas_controller)
endif()
