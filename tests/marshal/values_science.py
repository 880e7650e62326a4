"""numpy, pandas, scipy, scikit-learn, matplotlib."""

from tests.marshal.battery import case

NP = "import numpy as np\n"
PD = "import numpy as np, pandas as pd\n"
SK = """
import numpy as np, pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
class Scale(BaseEstimator, TransformerMixin):
    def __init__(self, by=2): self.by = by
    def fit(self, X, y=None): return self
    def transform(self, X): return X * self.by
X = np.arange(12.).reshape(6, 2); Y = np.array([0, 1, 0, 1, 0, 1])
"""

CASES = {
    "array": case(
        "a = np.arange(6.).reshape(2, 3) * 1",
        "assert a.tolist() == [[0, 1, 2], [3, 4, 5]] and a.flags.writeable and a.flags.owndata; a[0, 0] = 9; a.resize((3, 2))",
        NP,
    ),
    "array_dtypes": case(
        "x = [np.array([1], t) for t in ('i1', 'u8', 'f2', '>f4', 'c16', '?', 'U3', 'S2', 'M8[ns]', 'm8[D]')]; x.append(np.array([1, 2], np.longdouble))",
        "assert [a.dtype.str for a in x][:5] == ['|i1', '<u8', '<f2', '>f4', '<c16'] and x[6][0] == '1' and x[8].dtype == 'M8[ns]'",
        NP,
    ),
    "structured_array": case(
        "a = np.array([(1, 'x', (2., 3.))], dtype=[('a', 'i4'), ('b', 'U3'), ('c', 'f8', (2,))]); v = a['c']; w = a[['a']]",
        "assert a['b'][0] == 'x' and a.dtype.names == ('a', 'b', 'c'); a['c'][0, 0] = 9; assert v[0, 0] == 9; w['a'] = 4; assert a['a'][0] == 4",
        NP,
    ),
    "fortran_order": case(
        "a = np.asfortranarray(np.ones((3, 4))); t = np.ones((2, 3, 4)).transpose(1, 0, 2)",
        "assert a.flags.f_contiguous and not a.flags.c_contiguous and t.shape == (3, 2, 4)",
        NP,
    ),
    "zero_dimensional_and_empty": case(
        "a = np.array(5.); b = np.empty((0, 3)); c = np.array([], dtype=object)",
        "assert a.shape == () and a[()] == 5 and b.shape == (0, 3) and c.shape == (0,)",
        NP,
    ),
    "read_only": case("a = np.arange(3) * 1; a.flags.writeable = False", "assert not a.flags.writeable", NP),
    "read_only_view_of_writable": case(
        "a = np.zeros(3); v = a[:]; v.flags.writeable = False",
        "a[0] = 1; assert v[0] == 1 and not v.flags.writeable and v.base is a",
        NP,
    ),
    "writable_view_of_read_only": case(
        "a = np.zeros(3); v = a[:]; a.flags.writeable = False", "v[0] = 1; assert a[0] == 1 and not a.flags.writeable", NP
    ),
    "view_and_base": case(
        "a = np.zeros((4, 5)); v = a[1:3, ::2]; r = a.ravel()[::-1]",
        "a[1, 2] = 7; assert v[0, 1] == 7 and v.base is a and r[-8] == 7 and a.flags.owndata",
        NP,
    ),
    "view_before_base": case("v = np.zeros(6).reshape(2, 3)[:, 1]; a = v.base", "a[4] = 3; assert v[1] == 3 and v.base is a", NP),
    "two_views_without_base": case(
        "b = np.zeros(10); v = b[2:6]; w = b[4:8]; del b",
        "v[2] = 1; assert w[0] == 1 and v.shape == w.shape == (4,)",
        NP,
        save="v w",
    ),
    "disjoint_views_stay_apart": case(
        "b = np.zeros(10); v = b[:5]; w = b[5:]; del b", "v[:] = 1; assert w.sum() == 0", NP, save="v w"
    ),
    "small_view_of_large_base": case(
        "b = np.zeros(1_000_000); v = b[5:8]; s = b.reshape(1000, 1000)[:, 3]; del b",
        "assert v.tolist() == [0, 0, 0]",
        NP,
        save="v",
    ),
    "view_in_container": case(
        "a = np.zeros(3); d = {'v': a[1:]}; l = [a, a]", "a[1] = 5; assert d['v'][0] == 5 and l[0] is l[1] is a", NP
    ),
    "view_of_other_dtype": case("a = np.zeros(2, 'f8'); b = a.view('u1')", "b[7] = 64; assert a[0] == 2.0", NP),
    "broadcast_view": case(
        "a = np.broadcast_to(np.array([1., 2.]), (1000, 2)); w = np.lib.stride_tricks.sliding_window_view(np.arange(5.), 3)",
        "assert a.shape == (1000, 2) and a.sum() == 3000 and w[1].tolist() == [1, 2, 3]",
        NP,
    ),
    "array_over_bytearray": case(
        "b = bytearray(8); a = np.frombuffer(b, 'u1')[2:]", "b[2] = 7; assert a[0] == 7; a[1] = 8; assert b[3] == 8", NP
    ),
    "array_over_bytes": case("a = np.frombuffer(b'abcd', 'u1')", "assert bytes(a) == b'abcd' and not a.flags.writeable", NP),
    "object_array": case(
        "l = [1]; a = np.array([l, 'x', None, {2}], dtype=object); b = np.array([[l, 1], [2, 3]], dtype=object, order='F')",
        "assert a[0] is l and a[3] == {2} and b[0, 0] is l and b[1, 0] == 2 and b.flags.f_contiguous",
        NP,
    ),
    "object_array_of_arrays": case(
        "a = np.empty(3, object); a[0] = np.zeros(2); a[1] = np.array(5); a[2] = a[0]",
        "assert a[0] is a[2] and a[0].shape == (2,) and a.shape == (3,)",
        NP,
    ),
    "object_array_view": case(
        "a = np.array([[1], [2], None], dtype=object); v = a[1:]", "a[1] = 'new'; assert v[0] == 'new'", NP
    ),
    "object_array_in_itself": case("a = np.empty(1, object); a[0] = a", "assert a[0] is a", NP),
    "masked_array": case(
        "m = np.ma.array([1., 2., 3.], mask=[0, 1, 0], fill_value=-1); d = m.data; n = np.ma.masked",
        "assert m.sum() == 4 and m.fill_value == -1 and m.mask.tolist() == [False, True, False]; d[0] = 9; assert m[0] == 9 and n is __import__('numpy').ma.masked; m[0] = np.ma.masked; assert m.count() == 1",
        NP,
    ),
    "memmap_maps_its_file_again": case(
        "f = np.memmap('mm.bin', 'f8', 'w+', shape=(4,)); f[:] = 3; x = f",
        "assert type(x) is np.memmap and x.sum() == 12 and x.mode == 'r+'; x[0] = 1; x.flush(); assert np.fromfile('mm.bin')[0] == 1",
        NP,
        save="x",
    ),
    "matrix_and_recarray": case(
        "import warnings\nwith warnings.catch_warnings():\n    warnings.simplefilter('ignore'); m = np.matrix('1 2; 3 4')\nr = np.rec.array([(1, 2.)], names='a,b')",
        "assert type(m) is np.matrix and m.A1[0] == 1 and r.a[0] == 1 and r[0].b == 2.0",
        NP,
        save="m r",
    ),
    "array_subclass_with_attribute": case(
        "class Info(np.ndarray):\n    info = None\na = np.zeros(3).view(Info); a.info = {'k': 1}",
        "assert type(a) is Info and a.info == {'k': 1}",
        NP,
    ),
    "numpy_scalars_dtypes_functions": case(
        "x = [np.float32(1.5), np.int8(3), np.datetime64('2020-01-01'), np.dtype('f4'), np.sin, np.float64, np.bool_(True), np.nan]",
        "assert type(x[0]) is np.float32 and x[4] is np.sin and x[3] == 'f4' and x[5] is np.float64",
        NP,
    ),
    "vectorize_and_frompyfunc_of_prelude": case(
        "v = np.vectorize(lambda x: x + 1); u = add1",
        "assert v([1]).tolist() == [2] and u is add1",
        NP + "add1 = np.frompyfunc(lambda x: x + 1, 1, 1)",
    ),
    "generators_random": case(
        "g = np.random.default_rng(1); g.random(); h = [g]; s = np.random.RandomState(2); s.rand(); e = np.random.default_rng(1); e.random(); expect = e.random()",
        "assert h[0] is g and g.random() == expect; s.rand()",
        NP,
        save="g h s expect",
    ),
    "numpy_nan_by_identity": case(
        "row = [1, np.nan]; x = np.nan", "assert row[1] is np.nan and x is np.nan and np.nan in row", NP
    ),
    "poly_and_memory_layout": case(
        "p = np.poly1d([1, 2]); i = np.ix_([0, 1], [1]); n = np.nditer", "assert p(1) == 3 and i[0].shape == (2, 1)", NP
    ),
    "string_dtype": case("a = np.array(['ab', 'c'], dtype=np.dtypes.StringDType())", "assert a.tolist() == ['ab', 'c']", NP),
    "frame": case(
        "df = pd.DataFrame({'a': [1, 2], 'b': ['x', None], 'c': pd.Categorical(['u', 'v']), 'd': pd.to_datetime(['2020-01-01', '2021-01-01']).tz_localize('UTC')}, index=pd.Index(['r', 's'], name='i')); df.attrs['src'] = 'me'",
        "assert df.loc['r', 'a'] == 1 and df['c'].cat.categories.tolist() == ['u', 'v'] and str(df['d'].dt.tz) == 'UTC' and df.attrs == {'src': 'me'} and df.index.name == 'i'; df.loc['r', 'a'] = 5; assert df['a'].tolist() == [5, 2]; df['new'] = 1",
        PD,
    ),
    "frame_objects": case(
        "l = [1]; df = pd.DataFrame({'o': pd.Series([l, 'x', 3], dtype=object)})", "assert df['o'][0] is l", PD
    ),
    "frame_multiindex_extension": case(
        "df = pd.DataFrame({'v': pd.array([1, None], dtype='Int64'), 's': pd.array(['a', None], dtype='string')}, index=pd.MultiIndex.from_tuples([('a', 1), ('b', 2)], names=['k', 'n'])); p = df.index.levels; iv = pd.interval_range(0, 3); pr = pd.period_range('2020', periods=2, freq='M')",
        "assert df.loc[('b', 2), 'v'] is pd.NA and df['s'].iloc[0] == 'a' and df.index.names == ['k', 'n'] and len(iv) == 3 and str(pr[1]) == '2020-02'",
        PD,
    ),
    "frame_same_object": case(
        "df = pd.DataFrame({'a': [1]}); alias = df; box = [df]", "df['b'] = 2; assert alias is df is box[0]", PD
    ),
    "frames_that_share_copy_on_write": case(
        "df = pd.DataFrame({'a': [1., 2.], 'b': [3., 4.], 'c': pd.array([1, 2], dtype='Int64')}); lazy = df[:]; s = df['a']; t = df.copy(deep=False); pair = [df, t]",
        "df.loc[0, 'a'] = 99; df.loc[0, 'c'] = 99; assert lazy.loc[0, 'a'] == 1 and s[0] == 1 and t.loc[0, 'a'] == 1 and t.loc[0, 'c'] == 1 and pair[0] is df and pair[1] is t; t.loc[1, 'b'] = 0; assert lazy['b'].tolist() == [3, 4]",
        PD,
    ),
    "index_is_not_written_through_a_series": case(
        "i = pd.Index([1, 2, 3]); s = pd.Series(i); df = pd.DataFrame({'x': 1}, index=i); x = [i, s, df]",
        "s[0] = 9; assert i[0] == 1 and df.index[0] == 1 and x[0][0] == 1 and x[1] is s and x[2] is df and x[2].index is x[0]",
        PD,
    ),
    "series_and_scalars": case(
        "s = pd.Series([1, 2], name='n', index=pd.date_range('2020', periods=2)); t = pd.Timestamp('2020', tz='UTC'); d = pd.Timedelta('1D'); na = [pd.NA, pd.NaT]; iv = pd.Interval(0, 1)",
        "assert s.name == 'n' and s.index.freqstr == 'D' and t.year == 2020 and na[0] is pd.NA and na[1] is pd.NaT",
        PD,
    ),
    "groupby": case(
        "df = pd.DataFrame({'k': ['a', 'b', 'a'], 'v': [1, 2, 3]}); g = df.groupby('k'); r = df['v'].rolling(2)",
        "assert g['v'].sum()['a'] == 4 and r.sum().iloc[1] == 3",
        PD,
    ),
    "frame_subclass": case(
        "class F(pd.DataFrame):\n    _metadata = ['unit']\n    @property\n    def _constructor(self): return F\nf = F({'a': [1]}); f.unit = 'm'",
        "assert type(f) is F and f.unit == 'm' and type(f[['a']]) is F",
        PD,
    ),
    "wide_frame_slice": case(
        "df = pd.DataFrame(np.arange(1000.).reshape(100, 10)); small = df.iloc[:2]; v = df.to_numpy()",
        "assert small.shape == (2, 10) and v[1, 0] == 10",
        PD,
    ),
    "sparse_matrices": case(
        "import scipy.sparse as sp\nm = sp.csr_matrix(np.eye(3)); a = sp.coo_array(np.eye(2)); d = m.data",
        "m.data[0] = 7; assert m.toarray()[0, 0] == 7 and d[0] == 7 and a.sum() == 2",
        NP,
        save="m a d",
    ),
    "scipy_objects": case(
        "from scipy import stats, interpolate\nd = stats.norm(1, 2); i = interpolate.interp1d([0, 1], [0, 2])",
        "assert d.mean() == 1 and i(0.5) == 1",
        NP,
        save="d i",
    ),
    "estimators": case(
        "from sklearn.linear_model import LogisticRegression\nfrom sklearn.ensemble import RandomForestClassifier\nm = LogisticRegression().fit(X, Y); f = RandomForestClassifier(5, random_state=0).fit(X, Y); p = m.predict_proba(X); q = f.predict(X)",
        "assert (m.predict_proba(X) == p).all() and (f.predict(X) == q).all() and m.get_params()['C'] == 1.0",
        SK,
        save="m f p q",
    ),
    "pipeline_with_prelude_transformer": case(
        "from sklearn.pipeline import make_pipeline\nfrom sklearn.linear_model import Ridge\nfrom sklearn.preprocessing import FunctionTransformer\np = make_pipeline(Scale(3), FunctionTransformer(lambda x: x + 1), Ridge()).fit(X, Y); e = p.predict(X)",
        "assert isinstance(p[0], Scale) and (p.predict(X) == e).all()\nfrom sklearn.base import clone\nassert clone(p)[0].by == 3",
        SK,
        save="p e",
    ),
    "pipeline_with_own_transformer": case(
        "from sklearn.pipeline import make_pipeline\nfrom sklearn.linear_model import Ridge\nclass Shift(BaseEstimator, TransformerMixin):\n    def __init__(self, by=1): self.by = by\n    def fit(self, X, y=None): self.n_ = len(X); return self\n    def transform(self, X): return X + self.by\np = make_pipeline(Shift(3), Ridge()).fit(X, Y); e = p.predict(X)",
        "assert (p.predict(X) == e).all() and type(p[0]).__name__ == 'Shift'\nfrom sklearn.base import clone\nassert clone(p).fit(X, Y)[0].n_ == 6",
        SK,
        save="p e",
    ),
    "grid_search": case(
        "from sklearn.model_selection import GridSearchCV, KFold\nfrom sklearn.tree import DecisionTreeClassifier\ng = GridSearchCV(DecisionTreeClassifier(), {'max_depth': [1, 2]}, cv=KFold(2)).fit(X, Y)",
        "assert g.best_params_['max_depth'] in (1, 2) and len(g.predict(X)) == 6",
        SK,
        save="g",
    ),
    "bunch_and_kdtree": case(
        "from sklearn.utils import Bunch\nfrom sklearn.neighbors import KNeighborsClassifier\nb = Bunch(a=1); k = KNeighborsClassifier(1, algorithm='kd_tree').fit(X, Y)",
        "assert b.a == 1 and (k.predict(X) == Y).all()",
        SK,
        save="b k",
    ),
    "figure": case(
        "import matplotlib.pyplot as plt\nfig, ax = plt.subplots(); line, = ax.plot([1, 2], [3, 4]); ax.set_title('t')",
        "assert fig.axes[0] is ax and ax.lines[0] is line and ax.get_title() == 't'\nimport io; fig.savefig(io.BytesIO())",
        save="fig ax line",
    ),
}
