# stdout: *parameters*
# stderr: nothing
env -u REELM_MODEL "$reelm" info
