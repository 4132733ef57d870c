# stdout: *"video_tokens":*1280*
$reelm generate --dry-run -p "a ball"
test ! -e out.mp4
