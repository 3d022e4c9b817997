"""The sentences of a report in Korean, by their English."""

KOREAN: dict[str, str] = {
    '{error}': '{error}',
    '{low} to {high}': '{low} ~ {high}',
    # Headings.
    'Report: {title}': '보고서: {title}',
    'Findings': '결과 요약',
    'Comparison': '비교',
    'Differences to {baseline}': '{baseline} 대비 차이',
    'Learning curves': '학습 곡선',
    'Settings that differ': '서로 다른 설정',
    'Classes': '클래스별 결과',
    'Losses': 'loss',
    'Teachers': 'teacher',
    'Search': '탐색',
    'Grid': '격자',
    'Evaluations': '평가 기록',
    'Time and memory': '시간과 메모리',
    'Best checkpoints': '최고 checkpoint',
    'Next runs': '다음 실험 제안',
    'Notes': '참고',
    # Columns.
    'run': '실험',
    'seed': '시드',
    'seeds': '시드 수',
    'iteration': '반복',
    'iterations': '반복 수',
    'at iteration': '최고 시점(반복)',
    'best {metric}': '최고 {metric}',
    'final {metric}': '최종 {metric}',
    'to baseline': 'baseline 대비',
    'pairs': '쌍',
    'paired difference': '짝 차이',
    'sd': '표준편차',
    '95 %, t': '95 % 구간 (t)',
    '95 %, bootstrap': '95 % 구간 (부트스트랩)',
    'sign test p': '부호 검정 p',
    'verdict': '판정',
    'better': '더 좋음',
    'worse': '더 나쁨',
    'within noise': '오차 범위 안',
    'too few seeds': '시드 부족',
    'parameters': '매개변수',
    'setting': '설정',
    'settings': '설정',
    'student: teacher': 'student: teacher',
    'entropy': '엔트로피',
    'ECE': 'ECE',
    'deterministic': '결정적',
    'yes': '예',
    'no': '아니요',
    'checkpoint': 'checkpoint',
    's per iteration': '초/반복',
    'images/s': '이미지/초',
    'time in all': '전체 시간',
    'GPU memory': 'GPU 메모리',
    'device': '장치',
    # What is compared.
    '{runs} evaluated runs of {groups} settings. Compared is {metric}, in percent, of each '
    "run's best evaluation on {split}. The best was chosen on the same images, which flatters "
    'every run alike; figures to publish come from the test split.': (
        '평가된 실험 {runs}개, 설정 {groups}가지. 각 실험의 최고 평가에서 나온 {metric}(%)를 '
        '비교한다. 평가 데이터: {split}. 최고 시점을 같은 이미지로 골랐으므로 모든 실험의 값이 '
        '조금씩 높게 나온다. 발표할 수치는 test split에서 구해야 한다.'
    ),
    'the validation split': 'validation split',
    'No run is named as the baseline; --baseline NAME names one.': (
        'baseline 실험이 정해지지 않았다. --baseline NAME으로 지정할 수 있다.'
    ),
    'Runs are paired by their seed, which fixes the order of the data and the augmentation; every '
    'difference to the baseline in this report is the mean over the seeds that both have. ± and '
    "the first interval are 95 % confidence of that mean by Student's t; the second by the "
    'bootstrap (BCa), which of few seeds is too narrow. Better and worse are said where the first '
    'leaves 0 out, and never of fewer than 3 seeds. The sign test cannot fall below 0.05 with '
    'fewer than 6 seeds.': (
        '데이터 순서와 증강을 정하는 시드가 같은 실험끼리 짝지었다. 이 보고서에서 baseline과의 '
        '차이는 모두 양쪽에 공통된 시드의 평균이다. ±와 첫 번째 구간은 그 평균의 t 분포 95 % '
        '신뢰구간이고, 두 번째는 부트스트랩(BCa) 구간으로 시드가 적으면 실제보다 좁다. '
        '첫 번째 구간이 0을 포함하지 않을 때만 좋음 또는 나쁨으로 판정하며, 시드가 3개보다 적으면 '
        '판정하지 않는다. 부호 검정은 시드가 6개보다 적으면 0.05 아래로 내려갈 수 없다.'
    ),
    'Of {count} such intervals about {chance} leave 0 out by chance alone.': (
        '이런 구간 {count}개 가운데 약 {chance}개는 우연만으로도 0을 벗어난다.'
    ),
    'Every run by its seed': '시드별 모든 실험',
    'What differs from {name}; everything else is equal.': (
        '{name}와(과) 다른 설정만 적었다. 나머지는 모두 같다.'
    ),
    '{name}: {count} evaluations': '{name}: 평가 {count}회',
    'All {count} runs': '실험 {count}개 모두',
    'All {count} rows': '{count}행 모두',
    # Findings.
    'Highest mean: {name} with {score} {metric}, then {second} with {next}.': (
        '최고 평균: {name}, {metric} {score}. 2위: {second}, {next}.'
    ),
    '{name} reached {score} {metric}.': '{name}: {metric} {score}.',
    '{name} beats {baseline} by {mean} ± {half} {metric} ({n} seeds).': (
        '{name}: {baseline}보다 {metric} {mean} ± {half} 높다 (시드 {n}개).'
    ),
    '{name} is below {baseline} by {mean} ± {half} {metric} ({n} seeds).': (
        '{name}: {baseline}보다 {metric} {mean} ± {half} 낮다 (시드 {n}개).'
    ),
    '{name} is within noise of {baseline}: {mean} ± {half} {metric} ({n} seeds).': (
        '{name}: {baseline} 대비 {metric} {mean} ± {half}로 오차 범위 안이다 (시드 {n}개).'
    ),
    '{name}: {mean} {metric} against {baseline}, seeds in common: {n}. Too few seeds to tell a '
    'real difference from luck: at least {least} are needed.': (
        '{name}: {baseline} 대비 {metric} {mean} (공통 시드 {n}개). 시드가 부족하여 실제 차이와 '
        '우연을 구별할 수 없다. 최소 {least}개가 필요하다.'
    ),
    '{name}: {mean} {metric} against {baseline}; a table has no seeds, so nothing more can be '
    'said.': (
        '{name}: {baseline} 대비 {metric} {mean}. 표에는 시드가 없어 그 이상은 판단할 수 없다.'
    ),
    '{name} and {baseline} have no finished seed in common and cannot be compared.': (
        '{name}, {baseline}: 끝난 실험 중 공통된 시드가 없어 비교할 수 없다.'
    ),
    '{count} more runs are compared in the table.': '나머지 {count}개 실험의 비교는 표에 있다.',
    '{name} failed: {error}': '{name} 실패: {error}',
    'no reason kept': '원인이 기록되지 않음',
    '{count} more runs failed.': '그 밖에 {count}개 실험이 실패했다.',
    '{count} runs were pruned.': '{count}개 실험이 중간에 중단(가지치기)되었다.',
    '{count} runs have not begun.': '{count}개 실험이 아직 시작되지 않았다.',
    '{count} runs are not finished; they are left out of the statistics.': (
        '{count}개 실험이 끝나지 않아 통계에서 제외했다.'
    ),
    '{name} diverged: its loss was not finite at iteration {iteration}.': (
        '{name} 발산: 반복 {iteration}에서 loss가 유한한 값이 아니었다.'
    ),
    'The teacher {checkpoint} does not beat the baseline: {score} {metric} against {baseline} of '
    '{source}. Such a teacher can hardly help.': (
        'teacher {checkpoint}의 성능이 baseline보다 높지 않다: {metric} {score}, baseline '
        '{source}는 '
        '{baseline}. 이런 teacher는 도움이 되기 어렵다.'
    ),
    '{name}: of {file} only {matched} of {total} tensors matched the backbone.': (
        '{name}: {file}에서 백본과 맞은 텐서가 {total}개 중 {matched}개뿐이다.'
    ),
    '{name}: its pretrained file does not fit. {missing} tensors of the model found nothing in '
    'it, {unexpected} of the file had no place, so a part of the model began at random.': (
        '{name}: 사전 학습 파일이 모델과 맞지 않는다. 모델의 텐서 {missing}개가 파일에 '
        '없고, 파일의 '
        '텐서 {unexpected}개가 쓰이지 않아, 모델 일부가 임의의 값에서 시작했다.'
    ),
    "{name}: no gradient reaches the backbone's stages, whatever the weight, from: {losses}.": (
        '{name}: 가중치와 상관없이 gradient가 백본 단계에 전혀 닿지 않는 loss: {losses}.'
    ),
    '{name}: exactly 0 at the end of training, so they taught nothing: {losses}.': (
        '{name}: 학습이 끝날 때 값이 정확히 0이어서 아무것도 가르치지 못한 loss: {losses}.'
    ),
    '{name}: as good as switched off, by their share of the gradient: {losses}.': (
        '{name}: gradient 비중이 너무 작아 사실상 꺼진 loss: {losses}.'
    ),
    "{name}: swamps the labels' loss, by its share of the gradient: {losses}.": (
        '{name}: gradient 비중이 커서 정답 loss를 압도하는 loss: {losses}.'
    ),
    'Too few seeds to tell a real difference from luck (at least {least} are needed), in {metric} '
    'against {baseline}: {names}. The number of seeds is in brackets.': (
        '시드가 부족하여(최소 {least}개 필요) 실제 차이와 우연을 구별할 수 없는 실험 ({baseline} '
        '대비 {metric}): {names}. 괄호 안은 시드 수.'
    ),
    'Still improving at the end: {names}. In brackets what the last evaluation has more {metric} '
    'than all before it.': (
        '끝까지 좋아지고 있던 실험: {names}. 괄호 안은 마지막 평가의 {metric}와(과) 이전 '
        '최고의 차이.'
    ),
    '{name} peaked at iteration {peak} and ended {loss} {metric} lower.': (
        '{name}: 반복 {peak}에서 최고였고, 최종 {metric}는 그보다 {loss} 낮다.'
    ),
    '{name} hardly recognises {classes} (IoU below {limit} %).': (
        '{name}: {classes} 클래스를 거의 인식하지 못한다 (IoU {limit} % 미만).'
    ),
    '{name} against {baseline} by class: most gained by {up} ({gain} points of IoU), least by '
    '{down} ({loss}).': (
        '{name}, {baseline} 대비 클래스별 IoU 변화: {up} {gain}로 가장 크게 좋아졌고, '
        '{down} {loss}로 가장 낮다.'
    ),
    'The best value of {key}, {value}, is the lowest that could be chosen: lower ones may be '
    'better.': '{key}의 최적값 {value}가 탐색 범위의 최솟값이다. 더 작은 값이 나을 수 있다.',
    'The best value of {key}, {value}, is the highest that could be chosen: higher ones may be '
    'better.': '{key}의 최적값 {value}가 탐색 범위의 최댓값이다. 더 큰 값이 나을 수 있다.',
    # Next runs.
    'More seeds of {name} and {baseline}: fewer than {least} show no difference.': (
        '{name}, {baseline}의 시드 추가: {least}개보다 적으면 차이를 보일 수 없다.'
    ),
    'More seeds of {name} and {baseline}: if difference and spread stay as they are, {n} seeds '
    'would tell it from noise.': (
        '{name}, {baseline}의 시드 추가: 차이와 흩어짐이 지금과 같다면 시드 {n}개면 '
        '오차와 구별된다.'
    ),
    '{name} half as long again: it was still improving.': (
        '{name}을(를) 1.5배 길게: 끝까지 좋아지고 있었다.'
    ),
    '{name} only as long as it improved, with a learning rate that ends there.': (
        '{name}을(를) 좋아진 시점까지만: 학습률도 그 시점에서 끝나게 한다.'
    ),
    '{name} with weights that bring each loss nearer to a tenth of the gradient, by the median of '
    "the run's reports. One step raises a weight at most {most} times, or to 1; measure again "
    'before the next.': (
        '{name}: 각 loss의 gradient 비중이 10 %에 가까워지는 가중치 (실험의 gradient 기록 중앙값 '
        '기준). 가중치는 한 번에 최대 {most}배, 또는 1까지만 올리며, 다음 단계 전에 다시 측정한다.'
    ),
    'A space that goes on where the best values lay.': '최적값이 놓인 쪽으로 넓힌 탐색 범위.',
    '{name} on the test split: its best evaluation was chosen on the validation split, which '
    'flatters it.': (
        '{name}을(를) test split에서 평가: 최고 시점을 validation split으로 골라 값이 '
        '높게 나온 상태다.'
    ),
    # Pictures.
    '{metric} of all runs: means of the seeds, with a band from the lowest to the highest of '
    'them.': '모든 실험의 {metric}: 시드 평균. 띠는 시드의 최솟값에서 최댓값까지.',
    '{metric} of all runs. The best {shown} have a colour and the band of their seeds, the rest '
    '({grey}) is thin and grey.': (
        '모든 실험의 {metric}. 상위 {shown}개는 색과 시드 띠로, 나머지 {grey}개는 가는 회색 선으로 '
        '그렸다.'
    ),
    'IoU by class over all classes, means of the seeds, at the best evaluation of each; beside it '
    'the difference to the baseline.': (
        '최고 평가 시점의 클래스별 IoU(시드 평균)와 baseline 대비 차이.'
    ),
    'IoU by class over all classes, means of the seeds, at the best evaluation of each.': (
        '최고 평가 시점의 클래스별 IoU(시드 평균).'
    ),
    '{name}: of the pixels of each true class (row), per cent predicted as each class (column); '
    'below 0.5 left blank off the diagonal.': (
        '{name}: 각 정답 클래스(행)의 픽셀이 어느 클래스(열)로 예측되었는지(%). 대각선 밖의 '
        '0.5 미만은 비워 두었다.'
    ),
    'Weighted losses of {names}, one seed each, means over the logging interval.': (
        '가중치를 곱한 loss: {names} (각각 시드 1개, 기록 간격의 평균).'
    ),
    "{name}: what the labels and each loss have of the student's gradient, whether a loss pulls "
    "the labels' way, and the weighted losses.": (
        '{name}: student의 gradient에서 정답과 각 loss가 차지하는 비중, 정답 gradient와의 '
        '방향(코사인), '
        '가중치를 곱한 loss.'
    ),
    'Gradients of {count} more runs are in gradients.png of their work_dirs.': (
        '나머지 {count}개 실험의 gradient는 각 work_dir의 gradients.png에 있다.'
    ),
    'Share of each parameter in what made a point one of the best, of {count} points '
    '(PED-ANOVA).': ('좋은 점을 만드는 데 각 매개변수가 차지한 비중, 점 {count}개 (PED-ANOVA).'),
    'Importances need at least {needed} points of different score; there are {count}.': (
        '중요도를 구하려면 점수가 다른 점이 {needed}개 이상 필요하다. 지금은 {count}개다.'
    ),
    '{metric} over each parameter, the others being whatever they were; a circle is the best '
    'point.': '매개변수별 {metric} (다른 매개변수는 그때의 값). 동그라미가 최고점이다.',
    'Each line is a point; the brighter, the better.': '선 하나가 점 하나이며, 밝을수록 좋다.',
    'Of {count} parameters the first {slices} are sliced and the first {axes} are in the parallel '
    'coordinates.': (
        '매개변수 {count}개 중 처음 {slices}개를 단면도에, 처음 {axes}개를 평행 좌표에 그렸다.'
    ),
    'Images': '이미지',
    'image': '이미지',
    'chosen as': '선택 기준',
    'most improved': '가장 좋아진 이미지',
    'most damaged': '가장 나빠진 이미지',
    'least improved': '가장 적게 좋아진 이미지',
    'least damaged': '가장 적게 나빠진 이미지',
    'median': '중앙값',
    'difference in mIoU of the image': '이미지 mIoU 차이',
    'Validation images, baseline {baseline}, student {student}. Last column: green where the '
    'student alone is right, orange where the baseline alone is.': (
        '검증 이미지. baseline: {baseline}, student: {student}. 마지막 열은 student만 맞은 곳이 '
        '초록, baseline만 맞은 곳이 주황이다.'
    ),
    # Notes.
    'No images: {error}': '이미지 없음: {error}',
    '{file}: code in a config is not run and left out: {code}': '{file}: config에 있는 코드는 '
    '실행하지 않고 제외했습니다: {code}',
    "{file}: the teacher's config is code, which a report does not run; the teacher is left out "
    'of the images.': '{file}: teacher의 config가 코드이며, 보고서는 코드를 실행하지 않으므로 '
    '이미지에서 teacher를 제외했습니다.',
    'Left out: {error}': '제외: {error}',
    '{file}: the config cannot be read ({error}).': '{file}: 설정을 읽을 수 없다 ({error}).',
    '{file}: damaged, left out.': '{file}: 손상되어 제외했다.',
    '{file}: {count} lines are no JSON and were left out (the first is line {line}).': (
        '{file}: JSON이 아닌 줄 {count}개를 제외했다 (첫 줄 번호 {line}).'
    ),
}
