# SPDX-License-Identifier: Apache-2.0
# The S3 store: its signer, what it reads, and the store against real servers (tests/s3).
set(s3 ${CMAKE_CURRENT_SOURCE_DIR}/s3)
praas_unit_test(sigv4 praas_store)
praas_unit_test(s3_parse praas_store PkgConfig::CURL)
set(praas_fuzz_files_s3 controller/store/s3_xml.c controller/store/s3_url.c)
praas_fuzz_target(s3 praas_store)

add_executable(s3_sign s3/sign.c)
praas_target(s3_sign)
target_link_libraries(s3_sign PRIVATE praas_store)
set_target_properties(s3_sign PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PRAAS_TEST_BIN})
add_test(NAME s3.oracle COMMAND ${s3}/oracle.py $<TARGET_FILE:s3_sign>)
set_tests_properties(s3.oracle PROPERTIES LABELS slow SKIP_RETURN_CODE 77 TIMEOUT 120)

# The suite for all stores, here too: path style, virtual hosts, TLS; Ceph as the strict judge.
foreach(kind moto moto-host moto-tls rgw)
  add_test(NAME conformance.store.s3.${kind}
    COMMAND ${s3}/with ${kind} -- $<TARGET_FILE:conformance_store> {url})
  set_tests_properties(conformance.store.s3.${kind} PROPERTIES LABELS slow SKIP_RETURN_CODE 77 TIMEOUT 300)
endforeach()
set_tests_properties(conformance.store.s3.rgw PROPERTIES LABELS "slow;full")

# Behind a proxy that lets things go wrong.
add_executable(s3_faults s3/faults.c)
praas_target(s3_faults)
target_link_libraries(s3_faults PRIVATE PkgConfig::CMOCKA praas_store)
set_target_properties(s3_faults PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PRAAS_TEST_BIN})
foreach(kind moto rgw)
  add_test(NAME s3.faults.${kind} COMMAND ${s3}/with ${kind} --faults -- $<TARGET_FILE:s3_faults> {url})
  set_tests_properties(s3.faults.${kind} PROPERTIES LABELS slow SKIP_RETURN_CODE 77 TIMEOUT 300)
endforeach()
add_test(NAME s3.faults.long COMMAND ${s3}/with moto --faults -- $<TARGET_FILE:s3_faults> {url} 100)
set_tests_properties(s3.faults.long PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300)
set_tests_properties(s3.faults.rgw s3.faults.long PROPERTIES LABELS "slow;full")

# Keys from the endpoints of tasks and instances, that expire.
add_test(NAME s3.keys COMMAND ${s3}/keys.py $<TARGET_FILE:conformance_store>)
set_tests_properties(s3.keys PROPERTIES LABELS slow SKIP_RETURN_CODE 77 TIMEOUT 120)

# The real programs with their snapshots in a bucket.
if(TARGET praas-control AND TARGET praas-controller AND TARGET praas-worker)
  add_test(NAME s3.e2e COMMAND ${s3}/with moto -- /usr/bin/python3 ${s3}/e2e.py
    $<TARGET_FILE:praas-control> $<TARGET_FILE:praas-controller> ${PROJECT_BINARY_DIR}/examples {url})
  if(TARGET praas)
    add_test(NAME s3.collect COMMAND ${s3}/with moto -- /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/control/collect.py
      $<TARGET_FILE:praas-control> $<TARGET_FILE:praas-controller> ${PROJECT_BINARY_DIR}/examples
      $<TARGET_FILE:praas> {url})
    set_tests_properties(s3.collect PROPERTIES LABELS slow SKIP_RETURN_CODE 77 TIMEOUT 300)
  endif()
  set_tests_properties(s3.e2e PROPERTIES LABELS slow SKIP_RETURN_CODE 77 TIMEOUT 180)
endif()
