# SPDX-License-Identifier: Apache-2.0
# Tests of shm/.
foreach(part channel counters doorbell log_ring pages pool ring segment)
  praas_unit_test(${part} praas_shm)
endforeach()

target_link_libraries(test_log_ring PRIVATE Threads::Threads)

praas_unit_test(ring_stress praas_shm Threads::Threads)
set_tests_properties(unit.ring_stress unit.log_ring PROPERTIES LABELS tsan)
if(PRAAS_SANITIZE STREQUAL "thread")
  # The orders weakened: ThreadSanitizer must object, or the test above shows nothing.
  add_executable(test_ring_weak unit/test_ring_stress.c)
  praas_target(test_ring_weak)
  target_compile_definitions(test_ring_weak PRIVATE PRAAS_TEST_WEAK=1)
  target_link_libraries(test_ring_weak PRIVATE PkgConfig::CMOCKA praas_shm Threads::Threads)
  set_target_properties(test_ring_weak PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PRAAS_TEST_BIN})
  add_test(NAME unit.ring_weak_is_caught COMMAND test_ring_weak)
  set_tests_properties(unit.ring_weak_is_caught PROPERTIES
    PASS_REGULAR_EXPRESSION "WARNING: ThreadSanitizer: data race" LABELS tsan TIMEOUT 120)
endif()

set(praas_fuzz_files_ring shm/ring.c shm/ring.h shm/channel.c shm/channel.h shm/counters.c shm/log_ring.c)
set(praas_fuzz_files_pool shm/pool.c)
praas_fuzz_target(ring praas_shm)
praas_fuzz_target(pool praas_shm)

# Every interleaving of the protocols, explored by spin; their mutants must be found wrong.
foreach(model ring ring_hostile doorbell withdraw ahead lease)
  add_test(NAME model.${model} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/model/check
    ${CMAKE_CURRENT_SOURCE_DIR}/model/${model}.pml)
  set_tests_properties(model.${model} PROPERTIES LABELS "model;slow" SKIP_RETURN_CODE 77 TIMEOUT 600)
endforeach()
add_test(NAME model.labels COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/model/check-labels ${PROJECT_SOURCE_DIR})
