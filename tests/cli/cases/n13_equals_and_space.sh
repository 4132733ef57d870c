# stdout: *# flag*width = 32*# flag*height = 48*# flag*verbose = yes*# flag*quiet = yes*
# stderr: nothing
$reelm generate --width=32 --height 48 -qv --print-config
