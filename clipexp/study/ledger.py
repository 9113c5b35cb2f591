"""The ledger of a study's report: what is shown is computed from a source on the study's evidence.

ledger = StudyLedger(StudyAnalysis(evidence))
ledger.block(f"{ledger.show('trial', 'best', 'objective', form='.4f')}").markdown()
"""

from clipexp.reporting.proof import Ledger
from clipexp.study.analysis import StudyAnalysis
from clipexp.study.evaluation import evaluate


class StudyLedger(Ledger):
    """Notes what is shown of one study."""

    def __init__(self, analysis: StudyAnalysis) -> None:
        super().__init__(lambda source: evaluate(analysis, source))
        self.analysis = analysis
