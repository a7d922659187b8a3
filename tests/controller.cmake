# SPDX-License-Identifier: Apache-2.0
praas_unit_test(slot_log praas_store)
praas_unit_test(named praas_store)
praas_unit_test(sealed praas_store)
praas_unit_test(redo_format praas_store)
praas_unit_test(redo praas_store Threads::Threads)
praas_unit_test(redo_faults praas_store Threads::Threads)
set_tests_properties(unit.redo_faults PROPERTIES LABELS tsan TIMEOUT 300) # hundreds of syncs, on whatever disk
praas_unit_test(gc praas_store)
target_link_libraries(test_gc PRIVATE Threads::Threads)
set_tests_properties(unit.gc PROPERTIES TIMEOUT 300) # a minute alone under ThreadSanitizer
praas_unit_test(journal praas_controller)
praas_unit_test(manifest praas_controller)
praas_unit_test(regions praas_controller)
praas_unit_test(snapshot praas_controller)
praas_unit_test(stages praas_controller)
target_include_directories(test_stages PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
praas_unit_test(gate praas_controller)
praas_unit_test(redo_turn praas_controller)
praas_unit_test(redo_edit praas_controller)
target_include_directories(test_redo_edit PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
praas_unit_test(message_trace praas_controller)
target_include_directories(test_message_trace PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
target_compile_definitions(test_message_trace PRIVATE PRAAS_TEST_DATA="${CMAKE_CURRENT_SOURCE_DIR}/unit/data")
praas_unit_test(late praas_controller Threads::Threads)
target_include_directories(test_late PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
set_tests_properties(unit.late PROPERTIES LABELS tsan)
praas_unit_test(state_machines praas_controller)
praas_unit_test(move praas_controller)
praas_unit_test(hand_over praas_controller)
praas_unit_test(catch_up praas_controller)
praas_unit_test(members praas_controller)
target_sources(test_members PRIVATE ../control/life/roster.c)

# One suite for all stores: tests/conformance/store.c STORE.
add_executable(conformance_store conformance/store.c lib/redis_server.c)
find_program(PRAAS_REDIS_SERVER redis-server REQUIRED)
target_compile_definitions(conformance_store PRIVATE PRAAS_REDIS_SERVER="${PRAAS_REDIS_SERVER}")
praas_target(conformance_store)
target_link_libraries(conformance_store PRIVATE PkgConfig::CMOCKA praas_store)
target_link_options(conformance_store PRIVATE -Wl,--wrap=fsync)
set_target_properties(conformance_store PROPERTIES
  RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
# The same through a seal.
add_test(NAME conformance.store.sealed COMMAND conformance_store file sealed)
add_test(NAME conformance.store.redis.sealed COMMAND conformance_store redis sealed)
set_tests_properties(conformance.store.sealed conformance.store.redis.sealed PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120)
praas_unit_test(store_redis praas_store Threads::Threads)
target_sources(test_store_redis PRIVATE lib/cutting_proxy.c)
praas_unit_test(store_redis_names praas_store)
foreach(test store_redis store_redis_names)
  target_sources(test_${test} PRIVATE lib/redis_server.c)
  target_compile_definitions(test_${test} PRIVATE PRAAS_REDIS_SERVER="${PRAAS_REDIS_SERVER}")
endforeach()
foreach(store file memory: redis)
  string(REPLACE ":" "" name ${store})
  add_test(NAME conformance.store.${name} COMMAND conformance_store ${store})
  set_tests_properties(conformance.store.${name} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120)
endforeach()

if(COMMAND praas_fuzz_target)
  praas_fuzz_target(manifest praas_controller)
  praas_fuzz_target(mail praas_controller)
  praas_fuzz_target(changes praas_controller)
  praas_fuzz_target(redo praas_store)
  praas_fuzz_target(snapshot praas_controller)
  praas_fuzz_target(store praas_store)
endif()

# The real program with real functions, inline and in workers.
if(TARGET praas-controller AND TARGET praas_client AND TARGET example_counter)
  add_executable(e2e_controller e2e/test_controller.c)
  praas_target(e2e_controller)
  target_link_libraries(e2e_controller PRIVATE PkgConfig::CMOCKA PkgConfig::JANSSON praas_client
    praas_ticket)
  set_target_properties(e2e_controller PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PRAAS_TEST_BIN})
  add_executable(e2e_prepared e2e/test_prepared.c)
  praas_target(e2e_prepared)
  target_link_libraries(e2e_prepared PRIVATE PkgConfig::CMOCKA PkgConfig::JANSSON praas_client
    praas_ticket)
  set_target_properties(e2e_prepared PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PRAAS_TEST_BIN})
  set(isolations inline)
  if(TARGET praas-worker)
    list(APPEND isolations worker)
  endif()
  foreach(isolation ${isolations})
    add_test(NAME e2e.controller.${isolation} COMMAND e2e_controller
      $<TARGET_FILE:praas-controller> ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/praas-worker
      ${PROJECT_BINARY_DIR}/examples ${isolation})
    add_test(NAME e2e.controller.prepared.${isolation} COMMAND e2e_controller
      $<TARGET_FILE:praas-controller> ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/praas-worker
      ${PROJECT_BINARY_DIR}/examples ${isolation} prepared)
    add_test(NAME e2e.prepared.${isolation} COMMAND e2e_prepared
      $<TARGET_FILE:praas-controller> ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/praas-worker
      ${PROJECT_BINARY_DIR}/examples ${isolation})
    set_tests_properties(e2e.controller.${isolation} e2e.controller.prepared.${isolation}
      e2e.prepared.${isolation} PROPERTIES TIMEOUT 120)
  endforeach()
endif()
