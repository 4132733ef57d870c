# The validation split of the data beside the sources is the one that assets/splits/ names.
[ -d "$root/../shared/data/video" ] || exit 0
for kind in video photos audio; do
  what=video
  [ $kind = audio ] && what=audio
  $reelm eval $what "$root/../shared/data/$kind" --split validation --list 2>/dev/null |
    cmp - "$root/assets/splits/$kind.txt" || exit 1
done
